// Silent peers: the far ends of pipes and connections that led out of a program, held open by the
// process that has restored it. The program's reads wait, and what it writes is read and discarded,
// without a limit.
//
// The holder is the program's parent, which waits for its end anyway. Both waits are one, in one
// thread: the kernel refuses threads to a process whose children are in another time namespace.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/types.hpp"
#include "base/unique_fd.hpp"

namespace ckpt::state {

class SilentPeers {
 public:
  /// The end of a pipe, or a connected socket. It is closed when its other end is.
  void hold(UniqueFd far_end);
  /// A duplicate of a descriptor of another process, which the caller traces.
  [[nodiscard]] static UniqueFd take(Tid pid, int fd);

  /// waitpid(2) that takes what arrives meanwhile.
  Tid wait_child(Tid pid, int* status, int options);

  /// The note of a restore on an end that the program has, without the name of that.
  [[nodiscard]] static std::string note();

 private:
  void watch(int fd, std::uint32_t events, int operation) const;
  void prepare();
  void serve();
  void take_what_arrives(int fd, std::uint32_t events);

  UniqueFd epoll_;
  UniqueFd children_;  // signalfd(2): one of them has changed its state
  std::map<int, UniqueFd> far_ends_;
};

}  // namespace ckpt::state
