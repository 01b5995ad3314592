// Files of this machine, which GDB asks a remote target for: programs and libraries. They are only
// read.
#pragma once

#include <map>
#include <string>

#include "base/unique_fd.hpp"
#include "debugserver/packets.hpp"

namespace ckpt::debugserver {

class HostFiles {
 public:
  /// What stands behind "vFile:" in a packet; nothing for operations that are not known.
  std::string answer(Words packet);

 private:
  using Open = std::map<int, UniqueFd>;
  Open::const_iterator find(Words& packet) const;
  std::string open(Words packet);
  std::string read(Words packet) const;
  std::string status(Words packet) const;
  std::string close(Words packet);

  Open open_;
  int next_ = 1;
};

}  // namespace ckpt::debugserver
