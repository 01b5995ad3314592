// Settings that the kernel keeps per thread and per process and that a program rarely changes:
// scheduling, affinity, I/O priority, timer slack, parent-death signal, no_new_privs, securebits,
// subreaper, huge pages, OOM score. What this user may not set again is told at the restore.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "image/format.hpp"
#include "state/context.hpp"
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
};

struct ProcessAttributes {
  bool child_subreaper = false;
  bool huge_pages_disabled = false;
  int oom_score_adj = 0;
};

/// What can be seen from outside. `lwp` need not be stopped.
ThreadAttributes look_at_attributes(Tid lwp);
/// What only the thread itself can tell.
void ask_attributes(const tracee::Memory& memory, ThreadAttributes& attributes,
                    tracee::RemoteThread& thread, const tracee::Scratch& scratch);
ProcessAttributes ask_process_attributes(const CaptureContext& context,
                                         tracee::RemoteThread& thread,
                                         const tracee::Scratch& scratch);

image::Json attributes_to_json(const ThreadAttributes& attributes);
ThreadAttributes thread_attributes_from_json(const image::Json& json);
image::Json attributes_to_json(const ProcessAttributes& attributes);
ProcessAttributes process_attributes_from_json(const image::Json& json);

/// Sets in the thread what it can only set for itself, all but the parent-death signal, which the
/// restore uses meanwhile.
void restore_own_attributes(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                            const ThreadAttributes& attributes);
void restore_process_attributes(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                                Tid pid, const ProcessAttributes& attributes,
                                std::vector<std::string>& notes);
/// Sets from outside what can be; says in `notes` what this user may not set.
void restore_attributes(Tid lwp, const ThreadAttributes& attributes,
                        std::vector<std::string>& notes);

}  // namespace ckpt::state
