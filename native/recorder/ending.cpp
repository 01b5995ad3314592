// How a recording ends: with the program, or before something that it cannot follow. Then the
// program gets its own instructions back and goes on without us.
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.hpp"
#include "recorder/session.hpp"
#include "recording/memory_digest.hpp"

namespace ckpt::recorder {

recording::Event Session::event_of(const Thread& thread, recording::EventKind kind) const {
  recording::Event event;
  event.kind = kind;
  event.thread = thread.index;
  return event;
}

void Session::log(recording::Event event) {
  constexpr std::uint64_t kNowAndThen = 1000;
  constexpr int kShareOfTime = 10;
  const bool always = options_.digest_every != 0;
  const std::uint64_t every = always ? options_.digest_every : kNowAndThen;
  const bool due = writer_.events() - digested_events_ >= every &&
                   (always || digesting_ * kShareOfTime < Clock::now() - begin_);
  if (event.memory.empty() && due && event.kind == recording::EventKind::call) {
    const auto begin = Clock::now();
    event.memory = recording::digest_memory(process_.pid(), memory_);
    digesting_ += Clock::now() - begin;
    digested_events_ = writer_.events();
  }
  writer_.append(event);
}

void Session::finish(recording::Event event, int signal, Thread& thread) {
  event.memory = recording::digest_memory(process_.pid(), memory_);
  outcome_.reason = event.reason;
  log(std::move(event));
  writer_.flush();
  tracee::resume(thread.tid, tracee::Resume::run, signal);
  wait_for_end();
}

// The thread is at the entry of a call that is not made here.
void Session::refuse(const Thread& thread, const std::string& what) {
  auto event = event_of(thread, recording::EventKind::end);
  event.number = static_cast<std::int64_t>(thread.entry.syscall_number());
  event.at = thread.entry;
  event.reason = recording::EndReason::refused;
  event.text = what;
  event.memory = recording::digest_memory(process_.pid(), memory_);
  log(std::move(event));
  writer_.flush();
  outcome_.reason = recording::EndReason::refused;
  outcome_.refused = what;
  release_all();
  on_refusal_(what);
  wait_for_end();
}

void Session::release_all() {
  for (Thread& thread : threads_) {
    if (thread.ended) continue;
    if (thread.blocked && !thread.status) stop_for_release(thread);
  }
  sites_.remove_from(memory_);
  for (Thread& thread : threads_) {
    if (thread.ended) continue;
    for (const siginfo_t& info : thread.held)
      ::syscall(SYS_tgkill, process_.pid(), thread.tid, info.si_signo);
    // A signal that it has stopped for and that was not delivered yet.
    const bool at_signal = thread.status && WIFSTOPPED(*thread.status) &&
                           *thread.status >> kEventShift == 0 &&
                           (WSTOPSIG(*thread.status) & 0x80) == 0;
    tracee::detach(thread.tid, at_signal ? WSTOPSIG(*thread.status) : 0);
  }
}

void Session::stop_for_release(Thread& thread) {
  if (::ptrace(PTRACE_INTERRUPT, thread.tid, nullptr, nullptr) == -1) return;
  thread.status = tracee::wait_stop(thread.tid);
}

// Of all threads, and of the process.
void Session::wait_for_end() {
  over_ = true;
  for (;;) {
    int status = 0;
    const Tid got = ::waitpid(-1, &status, __WALL);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return;
    if (got == process_.pid() && !WIFSTOPPED(status)) {
      outcome_.wait_status = status;
      return;
    }
    if (WIFSTOPPED(status)) ::ptrace(PTRACE_CONT, got, nullptr, nullptr);
  }
}

}  // namespace ckpt::recorder
