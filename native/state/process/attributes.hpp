// Settings that the kernel keeps per thread and per process and that a program rarely changes:
// scheduling, affinity, I/O priority, timer slack, parent-death signal, no_new_privs, securebits,
// subreaper, huge pages, OOM score, NUMA. What this user may not set again is told at the restore.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "image/fields.hpp"
#include "state/context.hpp"
#include "state/memory/memory_policy.hpp"
#include "tracee/remote.hpp"

namespace ckpt::state {

struct ThreadAttributes {
  // sched_getattr(2)
  std::uint32_t policy = 0;
  std::uint64_t sched_flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime_ns = 0;
  std::uint64_t deadline_ns = 0;
  std::uint64_t period_ns = 0;
  std::vector<int> processors;  // affinity
  int io_priority = 0;          // ioprio_get(2)
  std::uint64_t timer_slack_ns = 0;
  int parent_death_signal = 0;
  bool no_new_privs = false;
  std::uint64_t securebits = 0;
  int timestamp_counter = 0;  // PR_GET_TSC
  int machine_check = 0;      // PR_MCE_KILL_GET
  // PR_GET_SPECULATION_CTRL, by kind; 0 where the kernel does not know it
  std::array<int, 3> speculation{};
  MemoryPolicy memory_policy;
  std::optional<std::uint32_t> login_user;  // /proc/PID/loginuid, if the kernel has it
  std::optional<std::uint64_t>
      personality;  // personality(2); older snapshots have the main thread's
};

struct ProcessAttributes {
  bool child_subreaper = false;
  int huge_pages_disabled = 0;  // PR_GET_THP_DISABLE: with its flags
  int oom_score_adj = 0;
  int dumpable = 1;
  int deny_write_exec = 0;  // PR_GET_MDWE
  bool merge_memory = false;
  bool io_flusher = false;
  std::uint32_t memory_barriers = 0;         // membarrier(2): the commands that have registered it
  std::optional<std::uint32_t> core_filter;  // /proc/PID/coredump_filter
  int lock_future = 0;                       // mlockall(2): MCL_FUTURE, maybe with MCL_ONFAULT
};

/// What can be seen from outside. `lwp` need not be stopped.
ThreadAttributes look_at_attributes(Tid lwp);
/// What only the thread itself can tell.
void ask_attributes(tracee::Inferior& inferior, ThreadAttributes& attributes);
ProcessAttributes ask_process_attributes(CaptureContext& context);

const image::Fields<ThreadAttributes>& fields_of(const ThreadAttributes* /*type*/);
const image::Fields<ProcessAttributes>& fields_of(const ProcessAttributes* /*type*/);

/// Sets in the thread what it can only set for itself, all but the parent-death signal, which the
/// restore uses meanwhile.
void restore_own_attributes(RestoreContext& inferior, const ThreadAttributes& attributes);
void restore_process_attributes(RestoreContext& inferior, const ProcessAttributes& attributes);
/// What would be in the way of the restore before its end.
void finish_process_attributes(tracee::Inferior& inferior, const ProcessAttributes& attributes);
/// Sets from outside what can be; says in `notes` what this user may not set.
void restore_attributes(Tid lwp, const ThreadAttributes& attributes,
                        std::vector<std::string>& notes);

}  // namespace ckpt::state
