// Signals, each at a position that a replay finds:
//
// - where an instruction has caused it;
// - where the thread's last event has left it: behind a system call, or while it was stopped;
// - else it came while the thread ran its own code. It is held, and delivered in front of the next
//   system call, or where the thread is stopped for it if it makes none soon.
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.hpp"
#include "proc/process_dir.hpp"
#include "recorder/session.hpp"
#include "recording/effects.hpp"

namespace ckpt::recorder {

namespace {

enum class Action { handler, nothing, stop, end };

std::uint64_t bit_of(int signal) { return std::uint64_t{1} << static_cast<unsigned>(signal - 1); }

// What the signal will do: signal(7).
Action action_of(Tid pid, int signal) {
  const auto status = proc::ProcessDir(pid).status();
  if ((status.caught & bit_of(signal)) != 0) return Action::handler;
  if ((status.ignored & bit_of(signal)) != 0) return Action::nothing;
  switch (signal) {
    case SIGCHLD:
    case SIGURG:
    case SIGWINCH:
    case SIGCONT: return Action::nothing;
    case SIGSTOP:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU: return Action::stop;
    default: return Action::end;
  }
}

// Whether an instruction of the thread has caused it, which then causes it in a replay, too.
bool is_fault(const siginfo_t& info) {
  switch (info.si_signo) {
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP: return info.si_code > 0;
    default: return false;
  }
}

}  // namespace

void Session::on_signal_stop(Thread& thread, int signal) {
  auto registers = arch::get_registers(thread.tid);
  auto info = tracee::get_siginfo(thread.tid).value_or(siginfo_t{});
  bool sent_by_us = false;
  if (const auto sent = thread.sent.find(signal);
      sent != thread.sent.end() && info.si_code == SI_TKILL && info.si_pid == ::getpid()) {
    info = sent->second;
    tracee::set_siginfo(thread.tid, info);
    thread.sent.erase(sent);
    sent_by_us = true;  // while it was stopped: it has come before anything else
  }
  if (signal == SIGTRAP && !thread.restarting && on_instruction(thread, registers)) return;
  const Action action = action_of(process_.pid(), signal);
  if (action == Action::stop) notes_.insert("the program was not stopped by a stop signal");
  if (action == Action::nothing || action == Action::stop) return drop_signal(thread);
  if (is_fault(info)) return deliver(thread, info, recording::SignalPlace::fault);
  if (thread.restarting || sent_by_us || thread.has_not_moved(registers))
    return deliver(
        thread, info,
        thread.before_call ? recording::SignalPlace::at_call : recording::SignalPlace::boundary);
  if (thread.held.empty()) thread.held_since = Clock::now();
  thread.held.push_back(info);
}

// A call that it has interrupted is made again: nothing has happened.
void Session::drop_signal(Thread& thread) {
  if (thread.restarting) go_on_in_call(thread);
}

bool Session::on_instruction(Thread& thread, const arch::Registers& registers) {
  const auto* site = sites_.hit(registers.pc());
  if (site == nullptr) return false;
  auto event = event_of(thread, recording::EventKind::instruction);
  event.at = registers;
  auto after = registers;
  after.set_pc(site->at);
  arch::execute_unpredictable(*site, after);
  arch::set_registers(thread.tid, after);
  event.after = after;
  log(std::move(event));
  thread.leave_at(after);
  if (turn_ == &thread && slice_over() && others_wait(thread)) give_turn(thread);
  return true;
}

void Session::deliver(Thread& thread, const siginfo_t& info, recording::SignalPlace place) {
  if (thread.restarting) {
    thread.restarting = false;
    complete_call(thread, arch::get_registers(thread.tid));
  }
  auto event = event_of(thread, recording::EventKind::signal);
  event.number = info.si_signo;
  event.place = place;
  event.at =
      place == recording::SignalPlace::at_call ? thread.entry : arch::get_registers(thread.tid);
  thread.before_call = false;
  if (action_of(process_.pid(), info.si_signo) == Action::handler)
    enter_handler(thread, std::move(event));
  else
    end_by_signal(thread, std::move(event));
}

// A step with a signal ends at the handler's first instruction, and nothing of it shows in the
// frame (handle_signal() in arch/x86/kernel/signal.c).
void Session::enter_handler(Thread& thread, recording::Event event) {
  const auto before = arch::get_registers(thread.tid);
  if (::ptrace(PTRACE_SINGLESTEP, thread.tid, nullptr, static_cast<std::uintptr_t>(event.number)) ==
      -1)
    throw_errno(fmt::format("thread {}: ptrace(SINGLESTEP)", thread.tid), errno);
  const int status = tracee::wait_stop(thread.tid);
  // There was no room for the frame: the kernel sends SIGSEGV in its stead.
  if (WSTOPSIG(status) != SIGTRAP) return handle(thread, status);
  auto after = arch::get_registers(thread.tid);
  arch::clear_traces_of_stepping(after);
  constexpr std::uint64_t kMostFrameBytes = 16U << 10U;
  const bool same_stack = after.sp() < before.sp() && before.sp() - after.sp() < kMostFrameBytes;
  const std::uint64_t frame_bytes = same_stack ? before.sp() - after.sp() : kMostFrameBytes;
  event.writes.push_back(recording::memory_now(memory_, after.sp(), frame_bytes));
  event.after = after;
  event.xstate = tracee::get_xstate(thread.tid);
  log(std::move(event));
  thread.leave_at(after);
}

void Session::end_by_signal(Thread& thread, recording::Event event) {
  event.kind = recording::EventKind::end;
  event.reason = recording::EndReason::signal;
  const int signal = static_cast<int>(event.number);
  finish(std::move(event), signal, thread);
}

bool Session::can_deliver_held(const Thread& thread) const {
  return !thread.held.empty() &&
         (tracee::get_signal_mask(thread.tid) & bit_of(thread.held.front().si_signo)) == 0;
}

// The signal stop that follows says where.
void Session::send_held(Thread& thread) {
  const siginfo_t info = thread.held.front();
  thread.held.pop_front();
  thread.sent[info.si_signo] = info;
  ::syscall(SYS_tgkill, process_.pid(), thread.tid, info.si_signo);
}

}  // namespace ckpt::recorder
