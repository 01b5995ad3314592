// Timers: the three of setitimer(2), of which alarm(2) is one, and those of timer_create(2) with
// their ids. Each goes on with the time that remained.
//
// A timer that has expired and whose signal is still queued keeps its place in the queue: at the
// restore it is made to expire again at that place, so that the kernel counts further expirations
// and starts it anew when the signal is taken, as it would have. All others are set at the very
// end, from when on their time counts.
#pragma once

#include <sys/time.h>
#include <csignal>
#include <ctime>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "image/fields.hpp"
#include "state/context.hpp"
#include "tracee/remote.hpp"

namespace ckpt::state {

struct PosixTimer {
  int id = 0;
  clockid_t clock = 0;  // of a CPU-time clock: with the id of its thread or process at the save
  int notify = SIGEV_SIGNAL;
  int signal = 0;
  std::uint64_t value = 0;  // sigev_value
  Tid target = 0;        // of SIGEV_THREAD_ID: the thread, as the program saw it; 0 if it is gone
  itimerspec setting{};  // it_value: the time that remains, 0 if it is not running
};

struct TimerState {
  std::array<itimerval, 3> interval{};  // by ITIMER_ number
  std::vector<PosixTimer> posix;        // by id
};

/// `threads`: the threads' ids as we see them -> as the program sees them.
TimerState capture_timers(CaptureContext& context, const std::map<Tid, Tid>& threads);
/// Whether a timer has expired between two captures of a stopped process: then what was seen of the
/// queues in between may belong to either.
bool expired_between(const TimerState& before, const TimerState& after);
/// Names what will not come back as it is. `threads` as above; `queued`: all queued signals.
void report_timers(CaptureContext& context, const TimerState& state,
                   const std::map<Tid, Tid>& threads, const std::vector<siginfo_t>& queued);

const image::Fields<PosixTimer>& fields_of(const PosixTimer* /*type*/);
const image::Fields<TimerState>& fields_of(const TimerState* /*type*/);

/// Makes the timers of timer_create, which do not run yet. `ids`: ids of threads at the save ->
/// now. All threads exist.
void create_timers(RestoreContext& inferior, const TimerState& state,
                   const std::map<Tid, Tid>& ids);
/// If `info` is the signal of one of the timers: makes that timer expire and waits until its signal
/// is queued, which must be blocked. False if it is another signal. `queued`: looks into the queue
/// that the signal belongs to.
bool expire_again(tracee::Inferior& inferior, const TimerState& state, const siginfo_t& info,
                  const std::function<std::vector<siginfo_t>()>& queued);
/// Sets all timers that do not wait for their signal to be taken. Signals are blocked. `queued`:
/// all signals that the restore has queued.
void start_timers(tracee::Inferior& inferior, const TimerState& state,
                  const std::vector<siginfo_t>& queued);

}  // namespace ckpt::state
