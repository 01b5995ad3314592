#include "state/descriptors/event_files.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "base/error.hpp"
#include "proc/text.hpp"
#include "state/descriptors/kinds.hpp"
#include "state/surroundings/other_process.hpp"

namespace ckpt::state {

namespace {

using image::Json;

// <linux/pidfd.h>, <linux/timerfd.h>: not in every distribution's headers.
constexpr std::uint32_t kPidfdThread = O_EXCL;
constexpr unsigned long kSetTicks = _IOW('T', 0, std::uint64_t);

timespec parse_time(std::string_view text) {
  // "(99, 998386941)"
  timespec time{};
  if (!text.starts_with('(') || !text.ends_with(')')) return time;
  text = text.substr(1, text.size() - 2);
  const auto seconds = proc::parse_number<std::int64_t>(proc::cut(text, ','));
  proc::skip_blanks(text);
  time.tv_sec = seconds.value_or(0);
  time.tv_nsec = proc::parse_number<long>(text).value_or(0);
  return time;
}

bool is_zero(const timespec& time) { return time.tv_sec == 0 && time.tv_nsec == 0; }

// The kernel knows no time that is further away.
timespec sum_of(const timespec& one, const timespec& other) {
  constexpr time_t kMostSeconds = 9'223'372'036;
  timespec sum{std::min(one.tv_sec, kMostSeconds) + std::min(other.tv_sec, kMostSeconds),
               one.tv_nsec + other.tv_nsec};
  if (sum.tv_nsec >= kNanosecondsPerSecond) {
    sum.tv_nsec -= kNanosecondsPerSecond;
    ++sum.tv_sec;
  }
  return sum;
}

bool has_wall_deadline(const TimerFd& timer) {
  return (timer.clock == CLOCK_REALTIME || timer.clock == CLOCK_REALTIME_ALARM) &&
         (timer.set_flags & TFD_TIMER_ABSTIME) != 0;
}

}  // namespace

std::optional<EventFd> read_eventfd(const std::string& info) {
  // The count is printed in hexadecimal; proc(5) does not say so.
  const auto text = proc::field(info, "eventfd-count");
  const auto count = text ? proc::parse_number<std::uint64_t>(*text, 16) : std::nullopt;
  if (!count) return std::nullopt;
  return EventFd{*count, proc::field(info, "eventfd-semaphore").value_or("0") == "1"};
}

std::optional<TimerFd> read_timerfd(const std::string& info) {
  const auto clock = proc::number_field<int>(info, "clockid");
  const auto expired = proc::number_field<std::uint64_t>(info, "ticks");
  const auto value = proc::field(info, "it_value");
  const auto interval = proc::field(info, "it_interval");
  if (!clock || !expired || !value || !interval) return std::nullopt;
  TimerFd timer;
  timer.clock = *clock;
  timer.expired = *expired;
  const auto flags = proc::field(info, "settime flags");
  timer.set_flags = flags ? proc::parse_number<int>(*flags, 8).value_or(0) : 0;
  timer.remaining = parse_time(*value);
  timer.interval = parse_time(*interval);
  if (has_wall_deadline(timer) && !is_zero(timer.remaining)) {
    ::clock_gettime(CLOCK_REALTIME, &timer.deadline);
    timer.deadline = sum_of(timer.deadline, timer.remaining);
  }
  return timer;
}

std::optional<SignalFd> read_signalfd(const std::string& info) {
  const auto text = proc::field(info, "sigmask");
  const auto mask = text ? proc::parse_number<std::uint64_t>(*text, 16) : std::nullopt;
  if (!mask) return std::nullopt;
  return SignalFd{*mask};
}

std::optional<PidFd> read_pidfd(const std::string& info, std::uint32_t flags) {
  const auto id = proc::number_field<Tid>(info, "Pid");
  if (!id) return std::nullopt;
  // Each process has its own since Linux 6.9; before, all have the same.
  const auto inode = proc::number_field<std::uint64_t>(info, "ino");
  return PidFd{std::max(*id, 0), (flags & kPidfdThread) != 0, inode.value_or(0)};
}

const image::Fields<EventFd>& fields_of(const EventFd* /*type*/) {
  static const image::Fields<EventFd> fields = {
      "eventfd", {{"count", &EventFd::count, ""}, {"semaphore", &EventFd::semaphore, ""}}};
  return fields;
}

const image::Fields<TimerFd>& fields_of(const TimerFd* /*type*/) {
  using Field = image::Field<TimerFd>;
  using Moment = image::Time<timespec>;
  static const image::Fields<TimerFd> fields = {
      "timerfd",
      {{"clock", &TimerFd::clock, ""},
       {"set_flags", &TimerFd::set_flags, "TFD_TIMER_*"},
       {"expired", &TimerFd::expired, "expirations not read"},
       Field::as<Moment>("remaining", &TimerFd::remaining, "seconds and nanoseconds"),
       Field::as<Moment>("interval", &TimerFd::interval, "likewise"),
       Field::as<Moment>("deadline", &TimerFd::deadline, "of the real-time clock, if absolute")}};
  return fields;
}

const image::Fields<SignalFd>& fields_of(const SignalFd* /*type*/) {
  static const image::Fields<SignalFd> fields = {"signalfd", {{"mask", &SignalFd::mask, ""}}};
  return fields;
}

const image::Fields<PidFd>& fields_of(const PidFd* /*type*/) {
  using enum image::Presence;
  static const image::Fields<PidFd> fields = {
      "pidfd",
      {{"id", &PidFd::id, "of the process itself, a thread, a child or another; 0: waited for"},
       {"thread", &PidFd::thread, ""},
       {"inode", &PidFd::inode, "which two of one process share since Linux 6.9", later}}};
  return fields;
}

int make_event_file(RestoreContext& inferior, const EventFd& event) {
  const int fd = inferior.open("eventfd", SYS_eventfd2, {0, event.semaphore ? EFD_SEMAPHORE : 0});
  if (event.count != 0) {
    const auto value = inferior.put_value(event.count);
    inferior.call("set an eventfd's counter", SYS_write, {fd, value, sizeof event.count});
  }
  return fd;
}

int make_event_file(RestoreContext& inferior, const TimerFd& timer) {
  return inferior.open("timerfd_create", SYS_timerfd_create, {timer.clock, 0});
}

int make_event_file(RestoreContext& inferior, const SignalFd& signals) {
  const auto mask = inferior.put_value(signals.mask);
  return inferior.open("signalfd", SYS_signalfd4, {~0ULL, mask, sizeof signals.mask, 0});
}

int make_event_file(RestoreContext& inferior, const PidFd& pidfd, Tid id) {
  return inferior.open("pidfd_open", SYS_pidfd_open, {id, pidfd.thread ? kPidfdThread : 0});
}

namespace {

// What the clock of a timer shows the program.
timespec time_now(RestoreContext& inferior, int clock) {
  if (clock == CLOCK_REALTIME_ALARM) clock = CLOCK_REALTIME;
  if (clock == CLOCK_BOOTTIME_ALARM) clock = CLOCK_BOOTTIME;
  const auto at = inferior.reserve<timespec>();
  inferior.call("clock_gettime", SYS_clock_gettime, {clock, at});
  return at.read();
}

}  // namespace

void start_timerfd(RestoreContext& inferior, int fd, const TimerFd& timer) {
  itimerspec value{};
  value.it_interval = timer.interval;
  const auto flags = static_cast<std::uint64_t>(timer.set_flags);
  const bool has_deadline = has_wall_deadline(timer) && !is_zero(timer.deadline);
  value.it_value = has_deadline ? timer.deadline : timer.remaining;
  // An interval timer that has expired stands still until that is read (fs/timerfd.c): nothing
  // remains. Only one that has expired is started again by the reading.
  if (timer.expired != 0 && is_zero(value.it_value) && !is_zero(timer.interval))
    value.it_value.tv_nsec = 1;
  // Other clocks than the real-time one begin elsewhere by now.
  if (!has_deadline && (timer.set_flags & TFD_TIMER_ABSTIME) != 0 && !is_zero(value.it_value))
    value.it_value = sum_of(value.it_value, time_now(inferior, timer.clock));
  const auto at = inferior.put_value(value);
  inferior.call("timerfd_settime", SYS_timerfd_settime, {fd, flags, at, 0});
  if (timer.expired == 0) return;
  const auto ticks = inferior.put_value(timer.expired);
  const std::int64_t result = inferior.attempt(SYS_ioctl, {fd, kSetTicks, ticks});
  if (result == 0 || !is_zero(value.it_value)) return;
  // A kernel without that request (CONFIG_CHECKPOINT_RESTORE): a timer that expires at once.
  value.it_value = {0, 1};
  const auto soon = inferior.put_value(value);
  inferior.call("timerfd_settime", SYS_timerfd_settime, {fd, 0, soon, 0});
}

namespace {

template <typename Details>
int make_from(const Description& description, const Making& making) {
  return make_event_file(making.inferior, description.get<Details>());
}

// That of a process which has ended stands for one that is no part of the snapshot.
int make_pidfd(const Description& description, const Making& making) {
  const auto& pidfd = description.get<PidFd>();
  for (const auto* known : {&making.ids.threads, &making.ids.children})
    if (const auto found = known->find(pidfd.id); found != known->end())
      return make_event_file(making.inferior, pidfd, found->second);
  const Tid ended = making.stand_ins.pid({pidfd.id, pidfd.inode});
  return make_event_file(making.inferior, {ended, false, 0}, ended);
}

bool describe_pidfd(const Describing& describing, Description& description) {
  const auto pidfd = read_pidfd(describing.fdinfo, description.flags);
  if (!pidfd) return false;
  description.details = *pidfd;
  const auto& process = describing.context.process;
  const auto own = pidfd->thread ? process.threads() : process.children();
  if (pidfd->id == 0 || pidfd->id == process.pid() ||
      std::find(own.begin(), own.end(), pidfd->id) != own.end())
    return true;
  describing.context.report.add(
      Severity::changed, describing.object, "pidfd",
      fmt::format("comes back as that of a process that has ended: process {} is no part of the "
                  "snapshot",
                  pidfd->id));
  return true;
}

}  // namespace

const DescriptorKind kinds::kEventfd = {.name = "eventfd",
                                        .anonymous = "eventfd",
                                        .describe = described_by<read_eventfd>,
                                        .details = &kDetails<EventFd>,
                                        .make = make_from<EventFd>};

const DescriptorKind kinds::kTimerfd = {
    .name = "timerfd",
    .anonymous = "timerfd",
    .describe = described_by<read_timerfd>,
    .details = &kDetails<TimerFd>,
    .make = make_from<TimerFd>,
    .start = [](const Description& description, RestoreContext& inferior, int number) {
      start_timerfd(inferior, number, description.get<TimerFd>());
    }};

const DescriptorKind kinds::kSignalfd = {.name = "signalfd",
                                         .anonymous = "signalfd",
                                         .describe = described_by<read_signalfd>,
                                         .details = &kDetails<SignalFd>,
                                         .make = make_from<SignalFd>};

const DescriptorKind kinds::kPidfd = {.name = "pidfd",
                                      .anonymous = "pidfd",
                                      .describe = describe_pidfd,
                                      .details = &kDetails<PidFd>,
                                      .make = make_pidfd};

}  // namespace ckpt::state
