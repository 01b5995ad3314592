#include "state/process/children.hpp"

#include <linux/sched.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <utility>

#include "arch/loop.hpp"
#include "base/error.hpp"
#include "state/process/creation.hpp"
#include "state/process/signals.hpp"

namespace ckpt::state {

namespace {

using image::Json;

// What ends no process by default (signal(7)).
bool is_deadly(int signal) {
  constexpr std::array<int, 8> kHarmless = {SIGCHLD, SIGCONT, SIGURG,  SIGWINCH,
                                            SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU};
  return signal >= 1 && signal <= kSignals &&
         std::find(kHarmless.begin(), kHarmless.end(), signal) == kHarmless.end();
}

// Nothing if there is none to be waited for (it lives, or another process is its tracer).
std::optional<siginfo_t> ask_status(CaptureContext& context, Tid inner_pid) {
  const auto info = context.put_value(siginfo_t{});
  if (context.attempt(SYS_waitid,
                      {P_PID, inner_pid, info, WEXITED | WNOHANG | WNOWAIT | __WALL, 0}) != 0 ||
      info.read().si_pid != inner_pid)
    return std::nullopt;
  return info.read();
}

// Whether the kernel collects children itself when they end (do_notify_parent() in
// kernel/signal.c).
bool ends_unseen(const SignalState& signals, int exit_signal) {
  if (exit_signal != SIGCHLD) return false;
  const SignalAction& action = signals.actions.at(SIGCHLD - 1);
  return action.handler == reinterpret_cast<std::uint64_t>(SIG_IGN) ||
         (action.flags & SA_NOCLDWAIT) != 0;
}

class ChildCapture {
 public:
  ChildCapture(CaptureContext& context, const SignalState& signals)
      : context_(context),
        signals_(signals),
        own_group_(context.process.stat().process_group),
        own_uid_(context.process.status(context.process.pid()).uids[0]) {}

  void look_at(Tid pid) {
    proc::Stat stat;
    proc::Status status;
    try {
      const proc::ProcessDir directory(pid);
      stat = directory.stat();
      status = directory.status(pid);
    } catch (const Error&) {
      return;  // it ended and was collected meanwhile
    }
    EndedChild child;
    child.pid = child.remembered = status.ns_pids.size() > 1 ? status.ns_pids.back() : pid;
    if (stat.process_group == pid)
      child.group = child.pid;
    else if (stat.process_group != own_group_)
      child.group = stat.process_group;
    child.own_session = stat.session == pid;
    child.exit_signal = std::clamp(stat.exit_signal, 0, kSignals);
    const auto info = ask_status(context_, child.pid);
    const bool comes_back =
        info ? take_end(child, *info, pid, stat.comm) : take_life(child, pid, stat, status);
    if (comes_back) ended.push_back(child);
  }

  std::vector<EndedChild> ended;

 private:
  void add(Severity severity, Tid pid, std::string text) {
    context_.report.add(severity, fmt::format("child {}", pid), "child process", std::move(text));
  }

  bool take_end(EndedChild& child, const siginfo_t& info, Tid pid, const std::string& name) {
    child.code = info.si_code;
    child.status = info.si_status;
    child.uid = info.si_uid;
    if (child.code == CLD_DUMPED)
      add(Severity::changed, pid,
          fmt::format("{} has ended with a core dump: its exit status comes back without that "
                      "(WCOREDUMP)",
                      name));
    if (child.uid != own_uid_)
      add(Severity::note, pid,
          fmt::format("{} ended as user {}: its siginfo names that user only if root restores it",
                      name, child.uid));
    return true;
  }

  bool take_life(EndedChild& child, Tid pid, const proc::Stat& stat, const proc::Status& status) {
    child.lived = true;
    child.code = CLD_KILLED;
    child.status = SIGKILL;
    child.uid = status.uids[0];
    const bool unseen = ends_unseen(signals_, child.exit_signal);
    add(Severity::changed, pid,
        fmt::format("{} {}: it comes back as killed (SIGKILL){}", stat.comm,
                    stat.state == 'Z' ? "has ended, and its debugger has not let go of it"
                                      : "is no part of the snapshot",
                    unseen ? ", and as collected, since the program ignores SIGCHLD" : ""));
    return !unseen;
  }

  CaptureContext& context_;
  const SignalState& signals_;
  Tid own_group_;
  std::uint32_t own_uid_;
};

}  // namespace

std::vector<EndedChild> capture_children(CaptureContext& context, const SignalState& signals) {
  ChildCapture capture(context, signals);
  for (const Tid pid : context.process.children())
    // A program that collects orphans (a subreaper) has us for a child when it saves itself.
    if (pid != ::getpid()) capture.look_at(pid);
  auto ended = std::move(capture.ended);
  // A group is known by its leader.
  for (EndedChild& child : ended) {
    if (child.group == 0 || child.group == child.pid) continue;
    const bool known = std::any_of(ended.begin(), ended.end(), [&](const EndedChild& other) {
      return other.pid == child.group && other.group == child.group;
    });
    if (known) continue;
    context.report.add(
        Severity::changed, fmt::format("child {}", child.pid), "child process",
        fmt::format("its process group {} does not come back: waiting for that group "
                    "fails with ECHILD, its exit status is that of a child in the "
                    "program's own group",
                    child.group));
    child.group = 0;
  }
  return ended;
}

void queue_ends(SignalState& signals, const std::vector<EndedChild>& children,
                std::uint64_t blocked) {
  for (const EndedChild& child : children) {
    if (!child.lived || child.exit_signal == 0) continue;
    const auto number = static_cast<unsigned>(child.exit_signal);
    const bool is_blocked = ((blocked >> (number - 1)) & 1U) != 0;
    constexpr std::uint64_t kIgnored = 1;  // SIG_IGN; SIG_DFL is 0
    const bool is_unhandled = signals.actions.at(number - 1).handler <= kIgnored;
    // What will not be waited for the kernel does not keep. Nor do we keep what would end the
    // program.
    if (is_unhandled && !is_blocked) continue;
    const bool is_queued =
        std::any_of(signals.queued.begin(), signals.queued.end(),
                    [&](const siginfo_t& info) { return info.si_signo == child.exit_signal; });
    if (is_queued && child.exit_signal < SIGRTMIN) continue;
    siginfo_t info{};
    info.si_signo = child.exit_signal;
    info.si_code = child.code;
    info.si_pid = child.remembered;
    info.si_uid = child.uid;
    info.si_status = child.status;
    signals.queued.push_back(info);
  }
}

namespace {

void check_child(EndedChild& child) {
  const bool exited = child.code == CLD_EXITED && child.status >= 0 && child.status <= 255;
  const bool killed =
      (child.code == CLD_KILLED || child.code == CLD_DUMPED) && is_deadly(child.status);
  if (child.pid <= 0 || child.remembered <= 0 || child.group < 0 || !(exited || killed) ||
      child.exit_signal < 0 || child.exit_signal > kSignals ||
      (child.own_session && child.group != child.pid))
    image::damaged("a child process");
}

}  // namespace

const image::Fields<EndedChild>& fields_of(const EndedChild* /*type*/) {
  using enum image::Presence;
  static const image::Fields<EndedChild> fields = {
      "child",
      {{"pid", &EndedChild::pid, "as the kernel knew it"},
       {"remembered", &EndedChild::remembered, "as the program knows it"},
       {"group", &EndedChild::group, "its process group, 0 for the program's own"},
       {"code", &EndedChild::code, "CLD_EXITED, CLD_KILLED or CLD_DUMPED"},
       {"status", &EndedChild::status, "its exit status, or the signal"},
       {"exit_signal", &EndedChild::exit_signal, "what the program got for it"},
       {"uid", &EndedChild::uid, ""},
       {"lived", &EndedChild::lived, "whether it did at the save", later},
       {"own_session", &EndedChild::own_session, "whether it led a session", later}},
      check_child};
  return fields;
}

namespace {

// The child, stopped at its begin, ends as the other did.
void let_end(Tid pid, Addr instruction, const EndedChild& child, std::vector<std::string>& notes) {
  const tracee::Memory memory(pid);
  // No core dump, and no program of the system that collects those.
  const rlimit none{0, 0};
  ::prlimit(pid, RLIMIT_CORE, &none, nullptr);
  tracee::RemoteThread thread(pid, pid, {pid, pid}, memory, instruction);
  thread.checked_call("prctl (in a child)", SYS_prctl, {PR_SET_DUMPABLE, 0});
  if (child.own_session) thread.checked_call("setsid (in a child)", SYS_setsid);
  if (child.uid != ::getuid() && ::geteuid() == 0 &&
      thread.call(SYS_setresuid, {child.uid, child.uid, child.uid}) != 0)
    notes.push_back(fmt::format("child {}: it ended as user {}, its siginfo names user {}",
                                child.remembered, child.uid, ::getuid()));
  thread.land();
  thread.abandon();
  if (child.code != CLD_EXITED) {
    tracee::set_signal_mask(pid, 0);
    tracee::detach(pid, child.status);
    return;
  }
  tracee::Registers registers = tracee::get_registers(pid);
  registers.set_pc(instruction);
  registers.set_next_syscall(SYS_exit_group);
  registers.leave_syscall();
  registers.set_arg(0, static_cast<std::uint64_t>(child.status));
  tracee::set_registers(pid, registers);
  tracee::detach(pid);
}

std::vector<std::size_t> leaders_first(const std::vector<EndedChild>& children) {
  std::vector<std::size_t> order(children.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_partition(order.begin(), order.end(),
                        [&](std::size_t i) { return children[i].group == children[i].pid; });
  return order;
}

Tid make_child(tracee::Inferior& inferior, const EndedChild& child, bool keep_ids) {
  const auto id = inferior.put_value(child.remembered);
  clone_args arguments{};
  arguments.exit_signal = static_cast<std::uint64_t>(child.exit_signal);
  if (keep_ids) {
    arguments.set_tid = id.at().value;
    arguments.set_tid_size = 1;
  }
  const auto arguments_at = inferior.put_value(arguments);
  const std::int64_t result =
      inferior.thread().call_clone(SYS_clone3, {arguments_at.at().value, sizeof arguments});
  if (result < 0)
    throw_not_created("a child", keep_ids ? child.remembered : 0, tracee::error_of(result));
  return static_cast<Tid>(result);
}

// Waits for it, which leaves it to be waited for, and takes its signal out of the queue.
void see_end(tracee::Inferior& inferior, Tid pid, int exit_signal) {
  const auto set = inferior.put_value(
      exit_signal == 0 ? std::uint64_t{0} : 1ULL << static_cast<unsigned>(exit_signal - 1));
  const auto no_time = inferior.put_value(timespec{});
  tracee::Batch batch(inferior);
  batch.add(SYS_waitid, {P_PID, pid, 0, WEXITED | WNOWAIT | __WALL, 0});
  batch.add(SYS_rt_sigtimedwait, {set, 0, no_time, sizeof(std::uint64_t)});
  batch.run();
  if (const int error = tracee::error_of(batch.result(0)))
    throw_errno(fmt::format("end child {}", pid), error);
}

}  // namespace

std::vector<Tid> make_ended_children(RestoreContext& inferior, unsigned long options,
                                     const std::vector<EndedChild>& children, bool keep_ids) {
  std::vector<Tid> made(children.size());
  if (children.empty()) return made;
  // With handlers or ignored signals inherited the children would not die, or vanish when they do.
  SignalState defaults;
  defaults.actions.resize(kSignals);
  restore_actions(inferior, defaults);
  const Addr instruction = inferior.scratch().code + arch::loop_syscall_offset();
  tracee::set_options(inferior.tid(), options | PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE);
  std::map<Tid, Tid> groups;
  for (const std::size_t i : leaders_first(children)) {
    const EndedChild& child = children[i];
    const Tid pid = make_child(inferior, child, keep_ids);
    made[i] = pid;
    if (child.group == child.pid) groups[child.pid] = pid;
    if (child.group != 0 && !child.own_session)
      inferior.call("setpgid (of a child)", SYS_setpgid, {pid, groups[child.group]});
    let_end(pid, instruction, child, inferior.notes);
    see_end(inferior, pid, child.exit_signal);
  }
  tracee::set_options(inferior.tid(), options);
  return made;
}

}  // namespace ckpt::state
