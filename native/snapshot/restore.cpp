#include "snapshot/restore.hpp"

#include <unistd.h>

#include <cerrno>

#include "base/error.hpp"
#include "base/fault.hpp"
#include "base/option.hpp"
#include "proc/process_dir.hpp"
#include "snapshot/transplant.hpp"
#include "state/files/huge_pages.hpp"
#include "state/process/creation.hpp"
#include "tracee/ptrace.hpp"

namespace ckpt::snapshot {

namespace {

// Which huge pages can be had shows when all is mapped.
Transplanted transplant_with_pages(const Snapshot& snapshot, state::FileSource& files,
                                   const TransplantOptions& options, bool keep_ids) {
  for (;;) {
    try {
      return transplant_once(snapshot, files, options, keep_ids);
    } catch (const state::NoHugePages& lack) {
      if (!files.use_ordinary_pages(lack.file())) throw;
    }
  }
}

bool may_choose_ids() {
  constexpr std::uint64_t kSysAdmin = 1ULL << 21U;
  constexpr std::uint64_t kCheckpointRestore = 1ULL << 40U;
  const auto effective = proc::ProcessDir(::getpid()).status().effective_capabilities;
  return (effective & (kSysAdmin | kCheckpointRestore)) != 0;
}

}  // namespace

void check_ids(IdMode ids) {
  if (ids == IdMode::saved && !may_choose_ids())
    fail(ErrorKind::refused,
         "the saved ids need the capability CAP_CHECKPOINT_RESTORE (or root): use {}",
         option("ids auto"));
}

Transplanted transplant(const Snapshot& snapshot, state::FileSource& files,
                        const TransplantOptions& options) {
  check_ids(options.ids);
  state::check_clocks(options.clock);
  if (options.ids == IdMode::saved || (options.ids == IdMode::automatic && may_choose_ids())) {
    try {
      return transplant_with_pages(snapshot, files, options, true);
    } catch (const state::IdRefused& error) {
      if (options.ids == IdMode::saved && error.error_number() == EEXIST)
        throw Error(
            ErrorKind::refused,
            fmt::format("{}: another process has it: use {}", error.what(), option("ids auto")),
            EEXIST);
      if (options.ids == IdMode::saved) throw;
    }
  }
  return transplant_with_pages(snapshot, files, options, false);
}

void release(const Transplanted& transplanted) {
  for (const Tid tid : transplanted.tids) {
    // In the midst of it, if there is more than one.
    if (tid == transplanted.tids.back()) fault_point("restore-release");
    try {
      tracee::detach(tid);
    } catch (const Error& error) {
      // A thread that was let go first may have ended the whole process meanwhile.
      if (error.kind() != ErrorKind::process_gone) throw;
    }
  }
}

}  // namespace ckpt::snapshot
