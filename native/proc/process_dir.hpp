// The one opener of /proc/PID: everything read about a process goes through here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/types.hpp"
#include "base/unique_fd.hpp"
#include "proc/fdinfo.hpp"
#include "proc/maps.hpp"
#include "proc/status.hpp"

namespace ckpt::proc {

/// Ids of all processes that /proc shows.
std::vector<Tid> all_processes();

class ProcessDir {
 public:
  /// Names a process by the kernel id it has in our PID namespace. Reads only whether its main
  /// thread lives; nothing is thrown if there is no such process.
  explicit ProcessDir(Tid pid);

  [[nodiscard]] Tid pid() const { return pid_; }
  /// A thread through which the process can be looked at: the kernel shows no memory and no
  /// descriptors for a main thread that has ended while others go on.
  [[nodiscard]] Tid through() const { return through_; }
  [[nodiscard]] bool main_ended() const { return through_ != pid_; }
  /// "/proc/PID/NAME", or through another thread.
  [[nodiscard]] std::string path(const std::string& name) const;

  /// Thread ids in the order in which the threads were created.
  [[nodiscard]] std::vector<Tid> threads() const;
  /// Open descriptors, ascending.
  [[nodiscard]] std::vector<int> descriptors() const;
  /// Where the links of all open descriptors point, in no order: for a quick look.
  [[nodiscard]] std::vector<std::pair<int, std::string>> descriptor_links() const;
  /// Ids of living or unreaped child processes, over all threads.
  [[nodiscard]] std::vector<Tid> children() const;

  [[nodiscard]] Status status() const;
  [[nodiscard]] Status status(Tid thread) const;
  [[nodiscard]] Stat stat() const;
  [[nodiscard]] Stat stat(Tid thread) const;
  [[nodiscard]] std::vector<Mapping> mappings() const;
  /// With what smaps alone says, for which the kernel looks at each page.
  [[nodiscard]] std::vector<Mapping> detailed_mappings() const;
  [[nodiscard]] FdInfo fdinfo(int fd) const;
  [[nodiscard]] std::string comm(Tid thread) const;
  /// A thread that the kernel has made itself, for an io_uring. It stands among the program's, but
  /// runs none of its code, and a tracer that waits for it waits for ever.
  [[nodiscard]] bool is_kernel_worker(Tid thread) const;
  [[nodiscard]] std::string read(const std::string& name) const;
  [[nodiscard]] std::optional<std::string> link(const std::string& name) const;
  [[nodiscard]] UniqueFd open(const std::string& name, int flags) const;
  /// NUL-separated strings of cmdline or environ.
  [[nodiscard]] std::vector<std::string> strings(const std::string& name) const;

 private:
  Tid pid_;
  Tid through_;
};

}  // namespace ckpt::proc
