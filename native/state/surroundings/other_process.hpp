// Descriptors that lead to other processes: their files in /proc. A process that has ended by
// the restore is no error: what is opened of it says so (ESRCH), as it would have said in time.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/types.hpp"
#include "base/unique_fd.hpp"
#include "image/fields.hpp"
#include "state/surroundings/neighbours.hpp"

namespace ckpt::state {

/// Whose file it is that /proc shows as `target`; `start_ticks` is 0 if that process has ended.
/// Nothing for a file elsewhere. `status`: of the open file.
std::optional<Identity> process_of_file(const std::string& target, const struct stat& status);

const image::Fields<Identity>& fields_of(const Identity* /*type*/);

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

/// Processes that stand for ones which are no part of the snapshot: the same for each that leads to
/// the same one (pidfds can be compared, fstat(2)).
class StandIns {
 public:
  /// Of the process that had this key. Throws Error (system).
  Tid pid(const std::pair<Tid, std::uint64_t>& key) {
    return made_.try_emplace(key).first->second.pid();
  }

 private:
  std::map<std::pair<Tid, std::uint64_t>, BriefProcess> made_;
};

/// The file at `target`, of the process if that still runs, else of one that has ended, which
/// `gone` gets.
UniqueFd open_of_process(const std::string& target, const Identity& process, int flags, bool& gone);

}  // namespace ckpt::state
