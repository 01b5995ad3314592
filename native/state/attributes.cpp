#include "state/attributes.hpp"

#include <fcntl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/text.hpp"

namespace ckpt::state {

namespace {

using image::Json;
using tracee::loop_entry;
using tracee::LoopEntry;

constexpr int kIoPriorityOfThread = 1;  // IOPRIO_WHO_PROCESS, ioprio_set(2)
constexpr int kMostProcessors = 8192;

// <linux/sched/types.h> clashes with <sched.h>; sched_setattr(2).
struct SchedulingAttributes {
  std::uint32_t size = sizeof(SchedulingAttributes);
  std::uint32_t policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime_ns = 0;
  std::uint64_t deadline_ns = 0;
  std::uint64_t period_ns = 0;
};

SchedulingAttributes scheduling_of(Tid lwp) {
  SchedulingAttributes attributes;
  if (::syscall(SYS_sched_getattr, lwp, &attributes, sizeof attributes, 0) != 0)
    throw_errno(fmt::format("thread {}: sched_getattr", lwp), errno);
  return attributes;
}

std::vector<int> processors_of(Tid lwp) {
  std::array<std::uint64_t, kMostProcessors / 64> mask{};
  const long bytes = ::syscall(SYS_sched_getaffinity, lwp, sizeof mask, mask.data());
  if (bytes < 0) throw_errno(fmt::format("thread {}: sched_getaffinity", lwp), errno);
  std::vector<int> processors;
  for (int i = 0; i < kMostProcessors; ++i)
    if (((mask.at(static_cast<std::size_t>(i) / 64) >> (static_cast<unsigned>(i) % 64)) & 1U) != 0)
      processors.push_back(i);
  return processors;
}

std::string setting_failed(Tid lwp, std::string_view what) {
  return fmt::format("thread {}: its {} cannot be set again: {}", lwp, what, describe_errno(errno));
}

}  // namespace

ThreadAttributes look_at_attributes(Tid lwp) {
  ThreadAttributes attributes;
  const SchedulingAttributes scheduling = scheduling_of(lwp);
  attributes.policy = scheduling.policy;
  attributes.sched_flags = scheduling.flags;
  attributes.nice = scheduling.nice;
  attributes.priority = scheduling.priority;
  attributes.runtime_ns = scheduling.runtime_ns;
  attributes.deadline_ns = scheduling.deadline_ns;
  attributes.period_ns = scheduling.period_ns;
  attributes.processors = processors_of(lwp);
  attributes.io_priority = static_cast<int>(::syscall(SYS_ioprio_get, kIoPriorityOfThread, lwp));
  return attributes;
}

void ask_attributes(const tracee::Memory& memory, ThreadAttributes& attributes,
                    tracee::RemoteThread& thread, const tracee::Scratch& scratch) {
  constexpr std::size_t kRows = 4;
  const Addr answer = scratch.data + kRows * sizeof(LoopEntry);
  std::array<LoopEntry, kRows> table = {
      loop_entry(SYS_prctl, {PR_GET_TIMERSLACK}),
      loop_entry(SYS_prctl, {PR_GET_PDEATHSIG, answer.value}),
      loop_entry(SYS_prctl, {PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0}),
      loop_entry(SYS_prctl, {PR_GET_SECUREBITS}),
  };
  thread.run(scratch, table, true, "prctl");
  attributes.timer_slack_ns = static_cast<std::uint64_t>(table[0].result);
  attributes.parent_death_signal = memory.read_value<int>(answer);
  attributes.no_new_privs = table[2].result != 0;
  attributes.securebits = static_cast<std::uint64_t>(table[3].result);
}

ProcessAttributes ask_process_attributes(const CaptureContext& context,
                                         tracee::RemoteThread& thread,
                                         const tracee::Scratch& scratch) {
  const Addr answer = scratch.data + 2 * sizeof(LoopEntry);
  std::array<LoopEntry, 2> table = {
      loop_entry(SYS_prctl, {PR_GET_CHILD_SUBREAPER, answer.value}),
      loop_entry(SYS_prctl, {PR_GET_THP_DISABLE, 0, 0, 0, 0}),
  };
  thread.run(scratch, table);
  ProcessAttributes attributes;
  attributes.child_subreaper = table[0].result == 0 && context.memory.read_value<int>(answer) != 0;
  attributes.huge_pages_disabled = table[1].result > 0;
  std::string score = try_read_file(context.process.path("oom_score_adj")).value_or("0");
  if (score.ends_with('\n')) score.pop_back();
  attributes.oom_score_adj = proc::parse_number<int>(score).value_or(0);
  return attributes;
}

Json attributes_to_json(const ThreadAttributes& attributes) {
  return {{"policy", attributes.policy},
          {"sched_flags", attributes.sched_flags},
          {"nice", attributes.nice},
          {"priority", attributes.priority},
          {"runtime_ns", attributes.runtime_ns},
          {"deadline_ns", attributes.deadline_ns},
          {"period_ns", attributes.period_ns},
          {"processors", attributes.processors},
          {"io_priority", attributes.io_priority},
          {"timer_slack_ns", attributes.timer_slack_ns},
          {"parent_death_signal", attributes.parent_death_signal},
          {"no_new_privs", attributes.no_new_privs},
          {"securebits", attributes.securebits}};
}

ThreadAttributes thread_attributes_from_json(const Json& json) {
  ThreadAttributes attributes;
  attributes.policy = json.at("policy");
  attributes.sched_flags = json.at("sched_flags");
  attributes.nice = json.at("nice");
  attributes.priority = json.at("priority");
  attributes.runtime_ns = json.at("runtime_ns");
  attributes.deadline_ns = json.at("deadline_ns");
  attributes.period_ns = json.at("period_ns");
  attributes.processors = json.at("processors").get<std::vector<int>>();
  for (const int processor : attributes.processors)
    if (processor < 0 || processor >= kMostProcessors) image::damaged("a thread's affinity");
  attributes.io_priority = json.at("io_priority");
  attributes.timer_slack_ns = json.at("timer_slack_ns");
  attributes.parent_death_signal = json.at("parent_death_signal");
  attributes.no_new_privs = json.at("no_new_privs");
  attributes.securebits = json.at("securebits");
  return attributes;
}

Json attributes_to_json(const ProcessAttributes& attributes) {
  return {{"child_subreaper", attributes.child_subreaper},
          {"huge_pages_disabled", attributes.huge_pages_disabled},
          {"oom_score_adj", attributes.oom_score_adj}};
}

ProcessAttributes process_attributes_from_json(const Json& json) {
  return {json.at("child_subreaper"), json.at("huge_pages_disabled"), json.at("oom_score_adj")};
}

void restore_own_attributes(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                            const ThreadAttributes& attributes) {
  std::vector<LoopEntry> table = {
      loop_entry(SYS_prctl, {PR_SET_TIMERSLACK, attributes.timer_slack_ns})};
  if (attributes.no_new_privs)
    table.push_back(loop_entry(SYS_prctl, {PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0}));
  if (attributes.securebits == SECBIT_KEEP_CAPS)  // the one that needs no privilege
    table.push_back(loop_entry(SYS_prctl, {PR_SET_KEEPCAPS, 1}));
  else if (attributes.securebits != 0)
    table.push_back(loop_entry(SYS_prctl, {PR_SET_SECUREBITS, attributes.securebits}));
  thread.run(scratch, table, true, "prctl");
}

void restore_process_attributes(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                                Tid pid, const ProcessAttributes& attributes,
                                std::vector<std::string>& notes) {
  std::array<LoopEntry, 2> table = {
      loop_entry(SYS_prctl, {PR_SET_CHILD_SUBREAPER, attributes.child_subreaper ? 1U : 0U}),
      loop_entry(SYS_prctl,
                 {PR_SET_THP_DISABLE, attributes.huge_pages_disabled ? 1U : 0U, 0, 0, 0}),
  };
  thread.run(scratch, table);
  try {
    const UniqueFd file = open_file(fmt::format("/proc/{}/oom_score_adj", pid), O_WRONLY);
    write_all(file.get(), fmt::format("{}", attributes.oom_score_adj), "oom_score_adj");
  } catch (const Error& error) {
    notes.push_back(fmt::format("the OOM score cannot be set again: {}", error.what()));
  }
}

void restore_attributes(Tid lwp, const ThreadAttributes& attributes,
                        std::vector<std::string>& notes) {
  const SchedulingAttributes now = scheduling_of(lwp);
  if (now.policy != attributes.policy || now.nice != attributes.nice ||
      now.priority != attributes.priority || now.flags != attributes.sched_flags) {
    SchedulingAttributes wanted;
    wanted.policy = attributes.policy;
    wanted.flags = attributes.sched_flags;
    wanted.nice = attributes.nice;
    wanted.priority = attributes.priority;
    wanted.runtime_ns = attributes.runtime_ns;
    wanted.deadline_ns = attributes.deadline_ns;
    wanted.period_ns = attributes.period_ns;
    if (::syscall(SYS_sched_setattr, lwp, &wanted, 0) != 0)
      notes.push_back(setting_failed(lwp, "scheduling policy or nice value"));
  }
  if (processors_of(lwp) != attributes.processors) {
    std::array<std::uint64_t, kMostProcessors / 64> mask{};
    for (const int processor : attributes.processors)
      mask.at(static_cast<std::size_t>(processor) / 64) |=
          1ULL << (static_cast<unsigned>(processor) % 64);
    if (::syscall(SYS_sched_setaffinity, lwp, sizeof mask, mask.data()) != 0)
      notes.push_back(setting_failed(lwp, "affinity to processors"));
  }
  if (::syscall(SYS_ioprio_get, kIoPriorityOfThread, lwp) != attributes.io_priority &&
      ::syscall(SYS_ioprio_set, kIoPriorityOfThread, lwp, attributes.io_priority) != 0)
    notes.push_back(setting_failed(lwp, "I/O priority"));
}

}  // namespace ckpt::state
