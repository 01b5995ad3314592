// Descriptors that lead to other processes: their files in /proc. A process that has ended by
// the restore is no error: what is opened of it says so (ESRCH), as it would have said in time.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>

#include "base/types.hpp"
#include "base/unique_fd.hpp"
#include "image/format.hpp"
#include "state/surroundings/neighbours.hpp"

namespace ckpt::state {

/// Whose file it is that /proc shows as `target`; `start_ticks` is 0 if that process has ended.
/// Nothing for a file elsewhere. `status`: of the open file.
std::optional<Identity> process_of_file(const std::string& target, const struct stat& status);

image::Json identity_to_json(const Identity& identity);
Identity identity_from_json(const image::Json& json);

/// A process that lives while this does, and whose end is not reported: what is opened of it leads
/// to one that has ended then.
class BriefProcess {
 public:
  /// Throws Error (system).
  BriefProcess();
  BriefProcess(const BriefProcess&) = delete;
  BriefProcess& operator=(const BriefProcess&) = delete;
  ~BriefProcess();
  [[nodiscard]] Tid pid() const { return pid_; }

 private:
  Tid pid_ = 0;
};

/// The file at `target`, of the process if that still runs, else of one that has ended, which
/// `gone` gets.
UniqueFd open_of_process(const std::string& target, const Identity& process, int flags, bool& gone);

}  // namespace ckpt::state
