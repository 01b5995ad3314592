// Which thread runs. One at a time: a thread runs until it makes a call that blocks, or gives way,
// or has had its time while others could run. Between two events of a recording only the thread of
// the second one runs, so that a replay needs no other clock than the events.
//
// 1. Threads that have stopped while another one ran are looked at (take_statuses): a call that had
//    blocked has ended.
// 2. The first thread of the queue is resumed, and what it stops for is handled. Stops of others
//    meanwhile are kept for 1.
// 3. A tick every few milliseconds ends the wait for a thread that runs for too long.
#include "recorder/recorder.hpp"

#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>

#include "base/error.hpp"
#include "proc/process_dir.hpp"
#include "recorder/session.hpp"

namespace ckpt::recorder {

namespace {

constexpr unsigned long kTraceOptions =
    PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;
constexpr int kCallStop = SIGTRAP | 0x80;
constexpr long kTickMicroseconds = 20'000;
// A signal waits so long for a system call, before which it is delivered.
constexpr std::chrono::milliseconds kMostHeld{20};

void on_alarm(int /*signal*/) {}

}  // namespace

Session::Session(const recording::Command& command, const Options& options,
                 std::function<void(const std::string&)> on_refusal)
    : options_(options),
      on_refusal_(std::move(on_refusal)),
      command_(command),
      process_(recording::launch(command, kTraceOptions, false)),
      memory_(process_.pid()),
      writer_(options.output, options.replace) {}

Session::~Session() {
  const itimerval never{};
  ::setitimer(ITIMER_REAL, &never, nullptr);
}

void Session::start() {
  recording::hide_vdso(memory_, arch::get_registers(process_.pid()));
  auto start = recording::describe_start(command_, process_.pid(), memory_);
  for (const auto& mapping : proc::ProcessDir(process_.pid()).mappings()) {
    if (!mapping.exec || !mapping.has_object()) continue;
    const auto found = recording::find_sites(memory_, mapping);
    start.sites.insert(start.sites.end(), found.begin(), found.end());
  }
  sites_.insert(memory_, start.sites);
  writer_.begin(start);
  Thread& thread = add_thread(process_.pid());
  thread.leave_at(start.registers);
  // Behind the program's start, which has these as they are.
  for (const int signal : {SIGINT, SIGQUIT}) std::signal(signal, SIG_IGN);
  struct sigaction action {};
  action.sa_handler = &on_alarm;  // without SA_RESTART: it ends waitpid(2)
  ::sigaction(SIGALRM, &action, nullptr);
  const itimerval tick{{0, kTickMicroseconds}, {0, kTickMicroseconds}};
  ::setitimer(ITIMER_REAL, &tick, nullptr);
}

Thread& Session::add_thread(Tid tid) {
  Thread& thread = threads_.emplace_back();
  thread.tid = tid;
  thread.index = static_cast<std::uint32_t>(outcome_.threads++);
  queue_.push_back(&thread);
  return thread;
}

Thread* Session::find(Tid tid) {
  const auto found = std::find_if(threads_.begin(), threads_.end(), [&](const Thread& thread) {
    return thread.tid == tid && !thread.ended;
  });
  return found == threads_.end() ? nullptr : &*found;
}

Outcome Session::run() {
  start();
  while (!over_) {
    take_statuses();
    if (over_) break;
    if (queue_.empty())
      wait_for_any();
    else
      run_thread(*queue_.front());
  }
  writer_.flush();
  outcome_.events = writer_.events();
  outcome_.file_bytes = writer_.file_bytes();
  outcome_.seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
  outcome_.notes.assign(notes_.begin(), notes_.end());
  process_.release();
  return outcome_;
}

void Session::take_statuses() {
  for (Thread& thread : threads_) {
    if (over_) return;
    if (!thread.status || thread.ended) continue;
    const int status = *thread.status;
    thread.status.reset();
    handle(thread, status);
  }
}

void Session::run_thread(Thread& thread) {
  take_turn(thread);
  thread.cpu_begin_ns = recording::process_cpu_ns(process_.pid());
  tracee::resume(thread.tid, tracee::Resume::to_syscall);
  handle(thread, wait_for(thread));
}

int Session::wait_for(Thread& thread) {
  for (;;) {
    int status = 0;
    const Tid got = ::waitpid(-1, &status, __WALL);
    if (got == thread.tid) return status;
    if (got > 0)
      keep_status(got, status);
    else if (errno == EINTR)
      on_tick(thread);
    else
      throw_errno("waitpid", errno);
  }
}

void Session::wait_for_any() {
  int status = 0;
  const Tid got = ::waitpid(-1, &status, __WALL);
  if (got > 0)
    keep_status(got, status);
  else if (errno == EINTR)
    write_now_and_then();
  else
    throw_errno("waitpid", errno);
}

// So that a recorder that is killed leaves what was some time ago.
void Session::write_now_and_then() {
  constexpr std::chrono::seconds kMostUnwritten{1};
  if (Clock::now() - flushed_ < kMostUnwritten) return;
  writer_.flush();
  flushed_ = Clock::now();
}

void Session::keep_status(Tid tid, int status) {
  if (Thread* thread = find(tid))
    thread->status = status;
  else
    strangers_[tid] = status;
}

void Session::on_tick(Thread& thread) {
  write_now_and_then();
  const auto now = Clock::now();
  if (interrupted_ || thread.in_call) return;
  const bool signal_waits = !thread.held.empty() && now - thread.held_since > kMostHeld;
  if (!signal_waits && !(slice_over() && others_wait(thread))) return;
  if (::ptrace(PTRACE_INTERRUPT, thread.tid, nullptr, nullptr) == 0) interrupted_ = true;
}

void Session::handle(Thread& thread, int status) {
  if (!WIFSTOPPED(status)) return on_end(thread, status);
  const int signal = WSTOPSIG(status);
  const int event = status >> kEventShift;
  if (signal == kCallStop) {
    if (thread.in_call)
      on_call_exit(thread);
    else
      on_call_entry(thread);
  } else if (event == PTRACE_EVENT_STOP) {
    on_event_stop(thread);
  } else if (event == 0) {
    on_signal_stop(thread, signal);
  } else {
    fail(ErrorKind::system, "thread {}: unexpected ptrace event {}", thread.tid, event);
  }
}

void Session::on_end(Thread& thread, int status) {
  thread.ended = true;
  std::erase(queue_, &thread);
  if (thread.tid != process_.pid()) return;
  auto event = event_of(thread, recording::EventKind::end);
  event.reason = recording::EndReason::killed;
  log(std::move(event));
  outcome_.reason = recording::EndReason::killed;
  outcome_.wait_status = status;
  over_ = true;
}

// PTRACE_INTERRUPT has stopped it, maybe later than was meant: within the next system call.
void Session::on_event_stop(Thread& thread) {
  interrupted_ = false;
  if (thread.in_call || thread.restarting) return go_on_in_call(thread);
  if (!thread.has_not_moved(arch::get_registers(thread.tid)) && !reach_position(thread)) return;
  if (can_deliver_held(thread)) return send_held(thread);
  give_turn(thread);
}

bool Session::others_wait(const Thread& thread) const {
  return std::any_of(threads_.begin(), threads_.end(), [&](const Thread& other) {
    return &other != &thread && !other.ended &&
           (other.status || (!other.blocked && !other.in_call));
  });
}

bool Session::slice_over() const {
  return std::chrono::duration<double>(Clock::now() - turn_since_).count() > options_.slice_s;
}

void Session::take_turn(Thread& thread) {
  if (turn_ == &thread) return;
  turn_ = &thread;
  turn_since_ = Clock::now();
}

void Session::give_turn(Thread& thread) {
  std::erase(queue_, &thread);
  queue_.push_back(&thread);
  turn_ = nullptr;
}

Outcome record(const recording::Command& command, const Options& options,
               const std::function<void(const std::string&)>& on_refusal) {
  Session session(command, options, on_refusal);
  return session.run();
}

}  // namespace ckpt::recorder
