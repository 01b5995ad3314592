// Stopping a program that runs, once it has run for a while: for `ckpt auto`.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/types.hpp"

namespace ckpt::tracee {

/// A thread that sends a SIGSTOP to one thread of a process when that process has run for a given
/// time since begin_anew(). It does nothing else: who traces the process sees the signal. When the
/// thread ends instead of showing it, another one gets it.
///
/// Native because its calls must be whole or not be: in GDB a Ctrl-C is an exception between any
/// two instructions of Python code, also while a lock is being taken there.
class StopClock {
 public:
  /// Starts the thread. `every`: how long the process may run. Throws Error.
  explicit StopClock(std::chrono::nanoseconds every);
  ~StopClock();
  StopClock(const StopClock&) = delete;
  StopClock& operator=(const StopClock&) = delete;

  /// The process runs: its time counts from now on. `tid`: the thread that gets the signal.
  void arm(Tid pid, Tid tid);
  /// The process has stopped, or must not be interrupted: nothing is sent any more when this
  /// returns. Returns whether it was armed.
  bool disarm();
  /// There was a save: the full time is left again.
  void begin_anew();
  /// Whether a signal was sent that seen() was not called for: a stop by the user came first.
  [[nodiscard]] bool on_its_way();
  /// The signal was seen, or cannot be seen any more.
  void seen();

 private:
  using Time = std::chrono::steady_clock;

  void run();
  bool send();
  bool send_to(Tid tid);
  [[nodiscard]] bool lives(Tid tid) const;

  const std::chrono::nanoseconds every_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::chrono::nanoseconds left_;
  Time::time_point due_;
  Tid pid_ = 0;  // 0: not armed
  Tid tid_ = 0;
  Tid receiver_ = 0;
  bool sent_ = false;
  bool on_its_way_ = false;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace ckpt::tracee
