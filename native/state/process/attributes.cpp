#include "state/process/attributes.hpp"

#include <fcntl.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/pagemap.hpp"
#include "proc/text.hpp"

namespace ckpt::state {

namespace {

using image::Json;

// <linux/membarrier.h>; the first one is of Linux 6.3.
constexpr std::uint32_t kGetRegistrations = 1U << 9U;
constexpr std::uint32_t kAllRegistrations = MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED |
                                            MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED |
                                            MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE |
                                            MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ;

constexpr int kIoPriorityOfThread = 1;  // IOPRIO_WHO_PROCESS, ioprio_set(2)
constexpr int kMostProcessors = 8192;
constexpr std::uint64_t kAskPersonality = 0xffffffff;  // personality(2)

// <linux/prctl.h>, newer than what Debian 12 has
constexpr int kSetMdwe = 65;  // Linux 6.3
constexpr int kGetMdwe = 66;
constexpr int kSetMemoryMerge = 67;  // Linux 6.4
constexpr int kGetMemoryMerge = 68;

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
  // Under a real-time policy it counts for nothing yet, and sched_getattr(2) does not tell it.
  errno = 0;
  attributes.nice = ::getpriority(PRIO_PROCESS, static_cast<id_t>(lwp));
  if (errno != 0) throw_errno(fmt::format("thread {}: getpriority", lwp), errno);
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

namespace {

std::optional<std::uint32_t> login_user_of(Tid lwp) {
  const auto text = try_read_file(fmt::format("/proc/{}/loginuid", lwp));
  return text ? proc::parse_number<std::uint32_t>(*text) : std::nullopt;
}

// Only the thread itself may set it. That of a program which had none is the restore's own, where
// it may not be taken away.
void restore_login_user(RestoreContext& inferior, std::uint32_t user) {
  constexpr std::uint32_t kNone = ~0U;
  const std::int64_t file = inferior.attempt(
      SYS_openat, {AT_FDCWD, inferior.put_string("/proc/thread-self/loginuid"), O_WRONLY, 0});
  std::int64_t result = file;
  if (file >= 0) {
    const std::string text = fmt::format("{}", user);
    result = inferior.attempt(SYS_write, {file, inferior.put_string(text), text.size()});
    inferior.attempt(SYS_close, {file});
  }
  if (const int error = tracee::error_of(result); error != 0 && user != kNone)
    inferior.notes.push_back(
        fmt::format("thread {}: its login user ({}, for audits) cannot be set "
                    "again: {}",
                    inferior.tid(), user, describe_errno(error)));
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
  attributes.login_user = login_user_of(lwp);
  return attributes;
}

void ask_attributes(tracee::Inferior& inferior, ThreadAttributes& attributes) {
  const auto signal = inferior.reserve<int>();
  const auto counter = inferior.reserve<int>();
  // All at once: it is asked of each thread.
  tracee::Batch batch(inferior);
  batch.add(SYS_prctl, {PR_GET_TIMERSLACK});
  batch.add(SYS_prctl, {PR_GET_PDEATHSIG, signal});
  batch.add(SYS_prctl, {PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0});
  batch.add(SYS_prctl, {PR_GET_SECUREBITS});
  batch.add(SYS_personality, {kAskPersonality});
  const std::size_t always_known = batch.size();
  batch.add(SYS_prctl, {PR_GET_TSC, counter});
  batch.add(SYS_prctl, {PR_MCE_KILL_GET, 0, 0, 0, 0});
  const std::size_t speculation = batch.size();
  for (std::size_t i = 0; i < attributes.speculation.size(); ++i)
    batch.add(SYS_prctl, {PR_GET_SPECULATION_CTRL, i, 0, 0, 0});
  batch.run();
  for (std::size_t i = 0; i < always_known; ++i)
    if (const int error = tracee::error_of(batch.result(i)))
      throw_errno(fmt::format("thread {}: ask for its attributes", inferior.tid()), error);
  attributes.timer_slack_ns = static_cast<std::uint64_t>(batch.result(0));
  attributes.parent_death_signal = signal.read();
  attributes.no_new_privs = batch.result(2) != 0;
  attributes.securebits = static_cast<std::uint64_t>(batch.result(3));
  attributes.personality = static_cast<std::uint64_t>(batch.result(4));
  const auto answer = [&](std::size_t index) {
    return batch.result(index) > 0 ? static_cast<int>(batch.result(index)) : 0;
  };
  if (batch.result(always_known) == 0) attributes.timestamp_counter = counter.read();
  attributes.machine_check = answer(always_known + 1);
  for (std::size_t i = 0; i < attributes.speculation.size(); ++i)
    attributes.speculation.at(i) = answer(speculation + i);
  attributes.memory_policy = ask_memory_policy(inferior);
}

namespace {

// The kernel tells it by what it has done with a new mapping, which the scratch area is.
int future_locks(CaptureContext& context) {
  const auto locked = [&] {
    const std::string status = context.process.read("status");
    return std::string(proc::field(status, "VmLck").value_or(""));
  };
  // Nothing has been written there.
  const tracee::Scratch& scratch = context.scratch();
  const Addr page{page_down((scratch.data + scratch.data_bytes).value - 1)};
  const std::string before = locked();
  context.call("munlock", SYS_munlock, {page, kPageSize});
  if (locked() == before) return 0;
  const UniqueFd pagemap = context.process.open("pagemap", O_RDONLY);
  const bool there = !proc::Pagemap(pagemap.get()).present_runs(page, page + kPageSize).empty();
  return there ? MCL_FUTURE : MCL_FUTURE | MCL_ONFAULT;
}

}  // namespace

ProcessAttributes ask_process_attributes(CaptureContext& context) {
  const auto subreaper = context.reserve<int>();
  tracee::Batch batch(context);
  batch.add(SYS_prctl, {PR_GET_CHILD_SUBREAPER, subreaper});
  batch.add(SYS_prctl, {PR_GET_THP_DISABLE, 0, 0, 0, 0});
  batch.add(SYS_prctl, {PR_GET_DUMPABLE});
  batch.add(SYS_prctl, {kGetMdwe, 0, 0, 0, 0});
  batch.add(SYS_prctl, {kGetMemoryMerge, 0, 0, 0, 0});
  batch.add(SYS_prctl, {PR_GET_IO_FLUSHER, 0, 0, 0, 0});
  batch.add(SYS_membarrier, {kGetRegistrations, 0, 0});
  batch.run();
  ProcessAttributes attributes;
  attributes.child_subreaper = batch.result(0) == 0 && subreaper.read() != 0;
  const auto setting = [&](std::size_t row) {
    return batch.result(row) > 0 ? static_cast<int>(batch.result(row)) : 0;
  };
  attributes.huge_pages_disabled = setting(1);
  attributes.dumpable = setting(2);
  attributes.deny_write_exec = setting(3);
  attributes.merge_memory = setting(4) != 0;
  attributes.io_flusher = setting(5) != 0;
  // An older kernel does not tell. To be registered without need does no harm.
  attributes.memory_barriers =
      batch.result(6) >= 0 ? static_cast<std::uint32_t>(batch.result(6)) : kAllRegistrations;
  std::string score = try_read_file(context.process.path("oom_score_adj")).value_or("0");
  if (score.ends_with('\n')) score.pop_back();
  attributes.oom_score_adj = proc::parse_number<int>(score).value_or(0);
  std::string filter = try_read_file(context.process.path("coredump_filter")).value_or("");
  if (filter.ends_with('\n')) filter.pop_back();
  attributes.core_filter = proc::parse_number<std::uint32_t>(filter, 16);
  attributes.lock_future = future_locks(context);
  return attributes;
}

namespace {

// Older files have a bool in its place.
struct NumberOrBool {
  static Json write(int value) { return value; }
  static int read(const Json& json) {
    return json.is_boolean() ? static_cast<int>(json.get<bool>()) : image::decode<int>(json);
  }
  static Json type(image::Catalog& /*catalog*/) { return "int"; }
};

}  // namespace

const image::Fields<ThreadAttributes>& fields_of(const ThreadAttributes* /*type*/) {
  using enum image::Presence;
  using A = ThreadAttributes;
  static const image::Fields<A> fields = {
      "thread_attributes",
      {{"policy", &A::policy, "this and the next six: sched_getattr(2)"},
       {"sched_flags", &A::sched_flags, ""},
       {"nice", &A::nice, ""},
       {"priority", &A::priority, ""},
       {"runtime_ns", &A::runtime_ns, ""},
       {"deadline_ns", &A::deadline_ns, ""},
       {"period_ns", &A::period_ns, ""},
       {"processors", &A::processors, "sched_getaffinity(2)"},
       {"io_priority", &A::io_priority, "ioprio_get(2)"},
       {"timer_slack_ns", &A::timer_slack_ns, ""},
       {"parent_death_signal", &A::parent_death_signal, "0 for none"},
       {"no_new_privs", &A::no_new_privs, ""},
       {"securebits", &A::securebits, ""},
       {"tsc", &A::timestamp_counter, "PR_GET_TSC", later},
       {"mce_kill", &A::machine_check, "PR_MCE_KILL_GET", later},
       {"speculation", &A::speculation,
        "PR_GET_SPECULATION_CTRL, by kind; 0 where the kernel did not know it", later},
       {"memory_policy", &A::memory_policy, "set_mempolicy(2)", later},
       {"personality", &A::personality, "personality(2); null: that of the process", later},
       {"login_user", &A::login_user, "`/proc/PID/loginuid`; null if the kernel has none", later}},
      [](A& attributes) {
        for (const int processor : attributes.processors)
          if (processor < 0 || processor >= kMostProcessors) image::damaged("a thread's affinity");
      }};
  return fields;
}

const image::Fields<ProcessAttributes>& fields_of(const ProcessAttributes* /*type*/) {
  using enum image::Presence;
  using A = ProcessAttributes;
  static const image::Fields<A> fields = {
      "process_attributes",
      {{"child_subreaper", &A::child_subreaper, ""},
       image::Field<A>::as<NumberOrBool>("huge_pages_disabled", &A::huge_pages_disabled,
                                         "PR_GET_THP_DISABLE"),
       {"oom_score_adj", &A::oom_score_adj, ""},
       {"dumpable", &A::dumpable, "PR_GET_DUMPABLE; 1 if it is missing", later},
       {"mdwe", &A::deny_write_exec, "PR_GET_MDWE", later},
       {"memory_merge", &A::merge_memory, "PR_GET_MEMORY_MERGE", later},
       {"io_flusher", &A::io_flusher, "PR_GET_IO_FLUSHER", later},
       {"memory_barriers", &A::memory_barriers,
        "membarrier(2): the commands for which it is registered", later},
       {"core_filter", &A::core_filter, "`/proc/PID/coredump_filter`", later},
       {"lock_future", &A::lock_future, "mlockall(2): MCL_FUTURE, maybe with MCL_ONFAULT", later}},
      [](A& attributes) {
        attributes.memory_barriers &= kAllRegistrations;
        attributes.lock_future &= MCL_FUTURE | MCL_ONFAULT;
      }};
  return fields;
}

void restore_own_attributes(RestoreContext& inferior, const ThreadAttributes& attributes) {
  inferior.call("prctl(PR_SET_TIMERSLACK)", SYS_prctl,
                {PR_SET_TIMERSLACK, attributes.timer_slack_ns});
  if (attributes.no_new_privs)
    inferior.call("prctl(PR_SET_NO_NEW_PRIVS)", SYS_prctl, {PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0});

  ThreadAttributes now;
  ask_attributes(inferior, now);
  const auto set = [&](const char* what, tracee::Arguments arguments) {
    if (const int error = tracee::error_of(inferior.attempt(SYS_prctl, arguments)))
      inferior.notes.push_back(fmt::format("thread {}: its {} cannot be set again: {}",
                                           inferior.tid(), what, describe_errno(error)));
  };
  if (attributes.machine_check != now.machine_check)
    set("way to die of memory errors (PR_MCE_KILL)",
        {PR_MCE_KILL, PR_MCE_KILL_SET, attributes.machine_check, 0, 0});
  for (std::size_t i = 0; i < attributes.speculation.size(); ++i) {
    const int wanted = attributes.speculation.at(i);
    // Another processor has other kinds. Where nothing was restricted, nothing is missing.
    const bool no_matter =
        (wanted & ~PR_SPEC_PRCTL) == PR_SPEC_ENABLE && (now.speculation.at(i) & PR_SPEC_PRCTL) == 0;
    if ((wanted & PR_SPEC_PRCTL) != 0 && wanted != now.speculation.at(i) && !no_matter)
      set("control of speculation", {PR_SET_SPECULATION_CTRL, i, wanted & ~PR_SPEC_PRCTL, 0, 0});
  }
  if (attributes.memory_policy != now.memory_policy)
    if (const int error = set_memory_policy(inferior, attributes.memory_policy))
      inferior.notes.push_back(
          fmt::format("thread {}: its memory policy (NUMA) cannot be set again: {}", inferior.tid(),
                      describe_errno(error)));
  if (attributes.login_user && attributes.login_user != login_user_of(inferior.tid()))
    restore_login_user(inferior, *attributes.login_user);
  if (attributes.personality && attributes.personality != now.personality)
    inferior.attempt(SYS_personality, {*attributes.personality});
  if (attributes.timestamp_counter != 0 && attributes.timestamp_counter != now.timestamp_counter)
    set("use of the time stamp counter", {PR_SET_TSC, attributes.timestamp_counter});
}

void restore_process_attributes(RestoreContext& inferior, const ProcessAttributes& attributes) {
  const auto huge_pages = static_cast<std::uint64_t>(attributes.huge_pages_disabled);
  tracee::Batch batch(inferior);
  batch.add(SYS_prctl, {PR_SET_CHILD_SUBREAPER, attributes.child_subreaper ? 1 : 0});
  batch.add(SYS_prctl, {PR_SET_THP_DISABLE, huge_pages & 1U, huge_pages & ~1ULL, 0, 0});
  if (attributes.merge_memory) batch.add(SYS_prctl, {kSetMemoryMerge, 1, 0, 0, 0});
  if (attributes.io_flusher) batch.add(SYS_prctl, {PR_SET_IO_FLUSHER, 1, 0, 0, 0});
  batch.run();
  for (const auto& call : batch)
    if (const int error = tracee::error_of(call.result))
      inferior.notes.push_back(fmt::format("prctl({}) cannot be set again: {}", call.arguments[0],
                                           describe_errno(error)));
  tracee::Batch registrations(inferior);
  for (unsigned bit = 0; bit < 32; ++bit)
    if (((attributes.memory_barriers >> bit) & 1U) != 0)
      registrations.add(SYS_membarrier, {1U << bit, 0, 0});
  registrations.run();  // what the kernel does not know no program has registered
  const auto write = [&](const char* name, const char* what, const std::string& text) {
    try {
      const UniqueFd file = open_file(inferior.process.path(name), O_WRONLY);
      write_all(file.get(), text, name);
    } catch (const Error& error) {
      inferior.notes.push_back(fmt::format("the {} cannot be set again: {}", what, error.what()));
    }
  };
  write("oom_score_adj", "OOM score", fmt::format("{}", attributes.oom_score_adj));
  if (attributes.core_filter)
    write("coredump_filter", "filter of core dumps", fmt::format("{:#x}", *attributes.core_filter));
  if (attributes.lock_future == 0) return;
  if (const int error = tracee::error_of(inferior.attempt(SYS_mlockall, {attributes.lock_future})))
    inferior.notes.push_back(fmt::format(
        "memory that it maps from now on is not locked (mlockall): {}", describe_errno(error)));
}

void finish_process_attributes(tracee::Inferior& inferior, const ProcessAttributes& attributes) {
  // 2, for which there is no call: not dumpable, and its files in /proc root's, as 0 has it.
  inferior.call("prctl(PR_SET_DUMPABLE)", SYS_prctl,
                {PR_SET_DUMPABLE, attributes.dumpable == 1 ? 1 : 0});
  if (attributes.deny_write_exec != 0)
    inferior.call("prctl(PR_SET_MDWE)", SYS_prctl, {kSetMdwe, attributes.deny_write_exec, 0, 0, 0});
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
    if (::syscall(SYS_sched_setattr, lwp, &wanted, 0) != 0 ||
        (scheduling_of(lwp).nice != wanted.nice &&
         ::setpriority(PRIO_PROCESS, static_cast<id_t>(lwp), wanted.nice) != 0))
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
