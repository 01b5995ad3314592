// The files of local sockets that are bound to a path. A socket keeps the text that it was bound by
// for its name, while its file may be removed or renamed, or lie in a directory that was the
// working one then: connect(2) looks for the file, and finds the socket that it belongs to.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "proc/process_dir.hpp"
#include "state/sockets/sock_diag.hpp"

namespace ckpt::state {

struct SocketFile {
  std::string path;      // where it is, if not at the socket's name
  bool is_none = false;  // it has been removed
  bool is_lost = false;  // that, or it is where it cannot be found
  unsigned mode = 0;
  uid_t owner = 0;
  gid_t group = 0;
  std::uint64_t names = 0;  // hard links
};

/// `name`: the text by which the socket was bound. `own`: our duplicate of its descriptor.
SocketFile find_socket_file(const proc::ProcessDir& process, int own, const std::string& name,
                            const LocalSocketInfo& info);

/// Whether a socket of this machine stands behind a socket's file; `name`: what it was bound by.
bool is_socket_file_in_use(const std::string& path, const std::string& name);

/// A directory of the moment in which a name leads to a file of its own.
class SocketStage {
 public:
  /// Throws Error (system). `within`: of the file system in which the file is to be.
  SocketStage(const std::string& within, const std::string& name);
  SocketStage(const SocketStage&) = delete;
  SocketStage& operator=(const SocketStage&) = delete;
  /// Removes it, and the file if that is still there.
  ~SocketStage();

  /// From where the name leads to the file: the working directory, or the root.
  [[nodiscard]] const std::string& start() const { return start_; }
  [[nodiscard]] const std::string& file() const { return file_; }

 private:
  std::string directory_;
  std::string start_;
  std::string file_;
};

}  // namespace ckpt::state
