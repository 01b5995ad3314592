#include "tracee/stop_clock.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "base/error.hpp"
#include "base/signals.hpp"
#include "proc/process_dir.hpp"

namespace ckpt::tracee {

namespace {

constexpr std::chrono::milliseconds kLookAgain(50);

}  // namespace

StopClock::StopClock(std::chrono::nanoseconds every) : every_(every), left_(every) {
  const SignalsBlocked blocked;
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error& error) {
    throw_errno("cannot start a thread", error.code().value());
  }
}

StopClock::~StopClock() {
  {
    const std::scoped_lock lock(mutex_);
    ended_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void StopClock::run() {
  std::unique_lock lock(mutex_);
  while (!ended_) {
    if (pid_ == 0 || (sent_ && !on_its_way_)) {
      changed_.wait(lock);
    } else if (sent_) {
      changed_.wait_for(lock, kLookAgain);
      if (pid_ != 0 && on_its_way_ && !lives(receiver_)) sent_ = on_its_way_ = false;
    } else if (Time::now() < due_) {
      changed_.wait_until(lock, due_);
    } else {
      sent_ = on_its_way_ = send();
      if (!sent_) pid_ = 0;
    }
  }
}

bool StopClock::send() {
  if (send_to(tid_)) return true;
  try {
    const auto tids = proc::ProcessDir(pid_).threads();
    return std::any_of(tids.begin(), tids.end(), [&](Tid tid) { return send_to(tid); });
  } catch (const Error&) {
    return false;  // the process is gone
  }
}

bool StopClock::send_to(Tid tid) {
  // One that has ended and is not waited for yet takes signals and never shows them.
  if (!lives(tid) || ::syscall(SYS_tgkill, pid_, tid, SIGSTOP) != 0) return false;
  receiver_ = tid;
  return true;
}

bool StopClock::lives(Tid tid) const {
  try {
    const char state = proc::ProcessDir(pid_).stat(tid).state;
    return state != 'Z' && state != 'X';
  } catch (const Error&) {
    return false;
  }
}

void StopClock::arm(Tid pid, Tid tid) {
  {
    const std::scoped_lock lock(mutex_);
    pid_ = pid;
    tid_ = tid;
    sent_ = false;
    due_ = Time::now() + left_;
  }
  changed_.notify_one();
}

bool StopClock::disarm() {
  const std::scoped_lock lock(mutex_);
  const bool armed = pid_ != 0;
  if (armed) left_ = std::max<std::chrono::nanoseconds>(due_ - Time::now(), {});
  pid_ = 0;
  return armed;
}

void StopClock::begin_anew() {
  const std::scoped_lock lock(mutex_);
  left_ = every_;
}

bool StopClock::on_its_way() {
  const std::scoped_lock lock(mutex_);
  return on_its_way_;
}

void StopClock::seen() {
  const std::scoped_lock lock(mutex_);
  on_its_way_ = false;
}

}  // namespace ckpt::tracee
