// System calls. A call is written down when it ends, with what it has written; one that blocks
// while others run has an event at its entry, too.
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>

#include "base/error.hpp"
#include "proc/process_dir.hpp"
#include "recorder/session.hpp"
#include "recording/effects.hpp"

namespace ckpt::recorder {

namespace {

// The kernel's notes that a call is to be made again (include/linux/errno.h): no program sees them.
bool is_restart(std::int64_t result) {
  return result == -512 || result == -513 || result == -514 || result == -516;
}

}  // namespace

void Session::on_call_entry(Thread& thread) {
  const auto registers = arch::get_registers(thread.tid);
  thread.in_call = true;
  if (thread.restarting) {
    // The call that was interrupted, or restart_syscall in its stead.
    thread.restarting = false;
    return go_on_in_call(thread);
  }
  thread.entry = registers;
  thread.before_call = false;
  const auto* rule = arch::syscall_rule(registers.syscall_number());
  if (!arch::is_native_call(registers)) return refuse(thread, "a system call of 32-bit code");
  if (rule == nullptr)
    return refuse(thread,
                  fmt::format("system call {}, which is not known", registers.syscall_number()));
  if (can_deliver_held(thread)) return put_before_call(thread);
  if (const auto why = recording::why_refused(*rule, registers)) return refuse(thread, *why);
  if (const auto why = why_no_memory_call(thread, rule->special)) return refuse(thread, *why);
  switch (rule->handling) {
    case arch::Handling::end_process: {
      auto event = event_of(thread, recording::EventKind::end);
      event.number = static_cast<std::int64_t>(registers.syscall_number());
      event.at = registers;
      return finish(std::move(event), 0, thread);
    }
    case arch::Handling::end_thread: return end_thread(thread);
    case arch::Handling::absent: return answer(thread, ENOSYS);
    case arch::Handling::create:
      if (const auto why = why_no_creation(thread)) return refuse(thread, *why);
      return create(thread);
    default: break;
  }
  // Whether such pages are lost depends on the machine's memory. Older kernels do not know it.
  if (rule->special == arch::Special::madvise && registers.arg(2) == MADV_FREE)
    return answer(thread, EINVAL);
  go_on_in_call(thread);
}

// The kernel does not see the call that the thread has entered.
void Session::skip_call(Thread& thread) {
  auto skipped = thread.entry;
  skipped.leave_syscall();
  arch::set_registers(thread.tid, skipped);
  tracee::resume(thread.tid, tracee::Resume::to_syscall);
  tracee::wait_stop(thread.tid);
  thread.in_call = false;
}

// The call is not made: it fails with that error.
void Session::answer(Thread& thread, int error_number) {
  skip_call(thread);
  const auto after = arch::after_call(thread.entry, -error_number);
  arch::set_registers(thread.tid, after);
  complete_call(thread, after);
}

// A signal that came while the thread ran its own code is delivered in front of the call, where a
// replay finds the place. The call is made anew when the handler is done.
void Session::put_before_call(Thread& thread) {
  skip_call(thread);
  thread.before_call = true;
  thread.leave_at(arch::before_call(thread.entry));
  arch::set_registers(thread.tid, thread.known);
  send_held(thread);
}

// Lets it go on to the end of its call. While others could run, they do as soon as it sleeps.
void Session::go_on_in_call(Thread& thread) {
  tracee::resume(thread.tid, tracee::Resume::to_syscall);
  if (thread.blocked) return;
  constexpr int kQuickLooks = 16;
  for (int looks = 0;; ++looks) {
    const bool others = others_wait(thread);
    int status = 0;
    const Tid got = ::waitpid(others ? thread.tid : -1, &status, __WALL | (others ? WNOHANG : 0));
    if (got == thread.tid) return handle(thread, status);
    if (got > 0) {
      // Something has happened to another thread first: it may be what this one waits for.
      keep_status(got, status);
    } else if (got < 0 && errno == EINTR) {
      on_tick(thread);
    } else if (got < 0) {
      throw_errno("waitpid", errno);
    } else if (looks < kQuickLooks) {
      ::sched_yield();
    } else if (is_asleep(thread)) {
      return mark_blocked(thread);
    } else {
      constexpr timespec kMoment{0, 20'000};
      ::nanosleep(&kMoment, nullptr);
    }
  }
}

bool Session::is_asleep(const Thread& thread) const {
  return proc::ProcessDir(process_.pid()).stat(thread.tid).state == 'S';
}

void Session::mark_blocked(Thread& thread) {
  auto event = event_of(thread, recording::EventKind::enter);
  event.number = static_cast<std::int64_t>(thread.entry.syscall_number());
  event.at = thread.entry;
  log(std::move(event));
  thread.blocked = true;
  std::erase(queue_, &thread);
}

void Session::on_call_exit(Thread& thread) {
  thread.in_call = false;
  const auto registers = arch::get_registers(thread.tid);
  if (is_restart(registers.syscall_result())) {
    thread.restarting = true;
    return go_on_in_call(thread);
  }
  complete_call(thread, registers);
}

void Session::complete_call(Thread& thread, const arch::Registers& after) {
  const auto& rule = *arch::syscall_rule(thread.entry.syscall_number());
  auto event =
      event_of(thread, thread.blocked ? recording::EventKind::leave : recording::EventKind::call);
  event.number = static_cast<std::int64_t>(thread.entry.syscall_number());
  event.result = after.syscall_result();
  event.at = thread.entry;
  event.writes = recording::effects(memory_, rule, thread.entry, event.result);
  if (arch::first_difference(arch::after_call(thread.entry, event.result), after, false))
    event.after = after;
  if (rule.handling == arch::Handling::sigreturn) event.xstate = tracee::get_xstate(thread.tid);
  if (event.result >= 0 && rule.handling == arch::Handling::memory)
    note_memory_call(thread, rule.special, event);
  if (rule.special == arch::Special::set_tid_address) thread.clear_tid = Addr{thread.entry.arg(0)};
  log(std::move(event));
  thread.leave_at(after);
  if (thread.blocked) queue_.push_back(&thread);
  thread.blocked = false;
  const bool yields = rule.special == arch::Special::yield;
  if ((yields || (turn_ == &thread && slice_over())) && others_wait(thread)) give_turn(thread);
}

// The kernel writes 0 for those who wait for the thread's end when no tracer sees it any more: the
// event is written when the thread is gone.
void Session::end_thread(Thread& thread) {
  auto event = event_of(thread, recording::EventKind::call);
  event.number = static_cast<std::int64_t>(thread.entry.syscall_number());
  event.at = thread.entry;
  thread.ended = true;
  const bool last = std::all_of(threads_.begin(), threads_.end(),
                                [](const Thread& other) { return other.ended; });
  if (last) {
    event.kind = recording::EventKind::end;
    return finish(std::move(event), 0, thread);
  }
  tracee::resume(thread.tid, tracee::Resume::run);
  wait_until_dead(thread);
  std::erase(queue_, &thread);
  interrupted_ = false;
  if (thread.clear_tid)
    event.writes.push_back(recording::memory_now(memory_, thread.clear_tid, sizeof(int)));
  log(std::move(event));
}

void Session::wait_until_dead(const Thread& thread) {
  const bool leads = thread.tid == process_.pid();
  for (;;) {
    int status = 0;
    // A leader that ends before others is not reported before them.
    const Tid got = ::waitpid(thread.tid, &status, __WALL | (leads ? WNOHANG : 0));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 || (got == thread.tid && !WIFSTOPPED(status))) return;
    if (got == thread.tid) tracee::resume(thread.tid, tracee::Resume::run);
    if (leads && proc::ProcessDir(process_.pid()).stat(thread.tid).state == 'Z') return;
  }
}

}  // namespace ckpt::recorder
