// Descriptors that stand for an event: eventfd, timerfd, signalfd, and a pidfd to the process
// itself. All that they hold stands in /proc/PID/fdinfo (proc(5)).
#pragma once

#include <ctime>
#include <optional>
#include <string>

#include "image/fields.hpp"
#include "state/context.hpp"

namespace ckpt::state {

struct EventFd {
  std::uint64_t count = 0;
  bool semaphore = false;
};

struct TimerFd {
  int clock = 0;
  int set_flags = 0;          // TFD_TIMER_*, as timerfd_settime(2) was told
  std::uint64_t expired = 0;  // expirations not read yet
  // Until the next expiration, from the save on; both 0 for a timer that does not run.
  timespec remaining{};
  timespec interval{};
  timespec deadline{};  // for an absolute time of the real-time clock
};

struct SignalFd {
  std::uint64_t mask = 0;
};

struct PidFd {
  Tid id = 0;  // 0 if it has ended and was waited for, or is in another pid namespace
  bool thread = false;
  std::uint64_t inode = 0;  // names the process among others
};

/// Each is told the fdinfo text. Nothing if the kernel does not show what is needed.
std::optional<EventFd> read_eventfd(const std::string& info);
std::optional<TimerFd> read_timerfd(const std::string& info);
std::optional<SignalFd> read_signalfd(const std::string& info);
std::optional<PidFd> read_pidfd(const std::string& info, std::uint32_t flags);

const image::Fields<EventFd>& fields_of(const EventFd* /*type*/);
const image::Fields<TimerFd>& fields_of(const TimerFd* /*type*/);
const image::Fields<SignalFd>& fields_of(const SignalFd* /*type*/);
const image::Fields<PidFd>& fields_of(const PidFd* /*type*/);

/// Makes the descriptor in the process; returns its (temporary) number. Timers do not run yet.
int make_event_file(RestoreContext& inferior, const EventFd& event);
int make_event_file(RestoreContext& inferior, const TimerFd& timer);
int make_event_file(RestoreContext& inferior, const SignalFd& signals);
/// `id`: of the process or thread as it is now.
int make_event_file(RestoreContext& inferior, const PidFd& pidfd, Tid id);

/// Lets the timer run on, from the state of the save.
void start_timerfd(RestoreContext& inferior, int fd, const TimerFd& timer);

}  // namespace ckpt::state
