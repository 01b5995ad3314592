#include "state/time/timers.hpp"

#include <linux/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <set>
#include <thread>

#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/timers.hpp"

namespace ckpt::state {

namespace {

using image::Json;

constexpr int kSetRestoreIds = 77;  // PR_TIMER_CREATE_RESTORE_IDS, Linux 6.15

// include/linux/posix-timers.h: a CPU-time clock is the id inverted, over what and whose it counts.
constexpr int kCpuClockMask = 7;
constexpr int kOfThread = 4;
constexpr int kOfDescriptor = 3;

struct CpuClock {
  Tid id = 0;  // 0: of the one that made the timer
  bool of_thread = false;
};

std::optional<CpuClock> cpu_clock(clockid_t clock) {
  if (clock >= 0 || (clock & 3) == kOfDescriptor) return std::nullopt;
  return CpuClock{~(clock >> 3), (clock & kOfThread) != 0};
}

clockid_t with_id(clockid_t clock, Tid id) {
  return static_cast<clockid_t>((~static_cast<unsigned>(id) << 3U) |
                                static_cast<unsigned>(clock & kCpuClockMask));
}

bool is_zero(const timespec& time) { return time.tv_sec == 0 && time.tv_nsec == 0; }
bool is_zero(const timeval& time) { return time.tv_sec == 0 && time.tv_usec == 0; }

bool later(const timespec& a, const timespec& b) {
  return std::pair(a.tv_sec, a.tv_nsec) > std::pair(b.tv_sec, b.tv_nsec);
}
bool later(const timeval& a, const timeval& b) {
  return std::pair(a.tv_sec, a.tv_usec) > std::pair(b.tv_sec, b.tv_usec);
}

bool is_of(const siginfo_t& info, const PosixTimer& timer) {
  return info.si_code == SI_TIMER && info.si_signo == timer.signal && info.si_timerid == timer.id;
}

bool is_queued(const std::vector<siginfo_t>& queued, const PosixTimer& timer) {
  return std::any_of(queued.begin(), queued.end(),
                     [&](const siginfo_t& info) { return is_of(info, timer); });
}

// A timer that expires once and runs has been set anew since its signal was queued.
bool waits_for_its_signal(const std::vector<siginfo_t>& queued, const PosixTimer& timer) {
  return is_queued(queued, timer) &&
         (is_zero(timer.setting.it_value) || !is_zero(timer.setting.it_interval));
}

template <typename Value>
std::vector<Value> ask_all(tracee::Inferior& inferior, long number, const std::vector<int>& ids) {
  constexpr std::size_t kAtOnce = 256;
  std::vector<Value> values(ids.size());
  const auto answers = inferior.reserve(std::min(kAtOnce, ids.size()) * sizeof(Value));
  for (std::size_t done = 0; done < ids.size();) {
    const std::size_t count = std::min(kAtOnce, ids.size() - done);
    tracee::Batch batch(inferior);
    for (std::size_t i = 0; i < count; ++i)
      batch.add(number, {ids[done + i], answers.at() + i * sizeof(Value)});
    batch.run_all("ask for a timer");
    answers.read(std::as_writable_bytes(std::span(values).subspan(done, count)));
    done += count;
  }
  return values;
}

}  // namespace

TimerState capture_timers(CaptureContext& context, const std::map<Tid, Tid>& threads) {
  TimerState state;
  const auto interval =
      ask_all<itimerval>(context, SYS_getitimer, {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF});
  std::copy(interval.begin(), interval.end(), state.interval.begin());
  // No such file where the kernel has no timers of this kind.
  const auto text = try_read_file(context.process.path("timers"));
  if (!text) return state;
  auto timers = proc::parse_timers(*text);
  std::sort(timers.begin(), timers.end(),
            [](const proc::Timer& a, const proc::Timer& b) { return a.id < b.id; });
  std::vector<int> ids;
  ids.reserve(timers.size());
  for (const auto& timer : timers) ids.push_back(timer.id);
  const auto settings = ask_all<itimerspec>(context, SYS_timer_gettime, ids);
  for (std::size_t i = 0; i < timers.size(); ++i) {
    const auto& timer = timers[i];
    Tid target = 0;
    if (timer.notify == SIGEV_THREAD_ID)
      if (const auto found = threads.find(timer.target); found != threads.end())
        target = found->second;
    state.posix.push_back(
        {timer.id, timer.clock, timer.notify, timer.signal, timer.value, target, settings[i]});
  }
  return state;
}

bool expired_between(const TimerState& before, const TimerState& after) {
  const auto expired = [](const auto& a, const auto& b) {
    return !is_zero(a.it_value) && (is_zero(b.it_value) || later(b.it_value, a.it_value));
  };
  for (std::size_t i = 0; i < before.interval.size(); ++i)
    if (expired(before.interval.at(i), after.interval.at(i))) return true;
  for (std::size_t i = 0; i < before.posix.size() && i < after.posix.size(); ++i)
    if (expired(before.posix[i].setting, after.posix[i].setting)) return true;
  return false;
}

void report_timers(CaptureContext& context, const TimerState& state,
                   const std::map<Tid, Tid>& threads, const std::vector<siginfo_t>& queued) {
  std::set<Tid> known;
  for (const auto& [lwp, tid] : threads) known.insert(tid);
  const proc::Status status = context.process.status(context.process.pid());
  known.insert(status.ns_pids.empty() ? context.process.pid() : status.ns_pids.back());
  tracee::Batch overruns(context);
  for (const PosixTimer& timer : state.posix) overruns.add(SYS_timer_getoverrun, {timer.id});
  overruns.run();
  for (std::size_t i = 0; i < state.posix.size(); ++i) {
    const PosixTimer& timer = state.posix[i];
    const auto add = [&](Severity severity, std::string text) {
      context.report.add(severity, fmt::format("timer {}", timer.id), "POSIX timer",
                         std::move(text));
    };
    const auto clock = cpu_clock(timer.clock);
    if (timer.clock < 0 && !clock)
      add(Severity::lost, "it goes by the clock of a device: it does not come back");
    else if (clock && clock->id != 0 && !known.contains(clock->id))
      add(Severity::lost,
          fmt::format("it goes by the CPU time of {} {}, which is not part of the snapshot: it "
                      "does not come back",
                      clock->of_thread ? "thread" : "process", clock->id));
    else if (clock && clock->id == 0 && clock->of_thread && threads.size() > 1 && timer.target == 0)
      add(Severity::changed,
          "it goes by the CPU time of the thread that made it, and the kernel does not tell which "
          "that was: it goes on by that of the main thread");
    else if (timer.clock == CLOCK_REALTIME_ALARM || timer.clock == CLOCK_BOOTTIME_ALARM)
      add(Severity::note,
          "it wakes the machine from suspension, which takes CAP_WAKE_ALARM at the restore");
    if (overruns.result(i) > 0)
      add(Severity::changed,
          fmt::format("timer_getoverrun() says 0 instead of {} until it expires again",
                      overruns.result(i)));
    if (!is_zero(timer.setting.it_interval) && is_queued(queued, timer))
      add(Severity::note,
          "its signal is queued: expirations while it was are not counted as overruns");
  }
}

namespace {

// KTIME_SEC_MAX of the kernel.
constexpr std::int64_t kMostSeconds = INT64_MAX / kNanosecondsPerSecond;

template <typename Time>
using TimerTime = image::Time<Time, kMostSeconds>;

// What remains, and the interval.
struct Interval {
  using Form = TimerTime<timeval>;

  static Json write(const itimerval& timer) {
    return Json::array({Form::write(timer.it_value), Form::write(timer.it_interval)});
  }
  static itimerval read(const Json& json) {
    image::expect_list(json, 2);
    return {Form::read(json.at(1)), Form::read(json.at(0))};
  }
  static Json type(image::Catalog& catalog) {
    return {{"pair", Json::array({Form::type(catalog), Form::type(catalog)})}};
  }
};

void check_timer(PosixTimer& timer) {
  const bool known_way = timer.notify == SIGEV_SIGNAL || timer.notify == SIGEV_NONE ||
                         timer.notify == SIGEV_THREAD || timer.notify == SIGEV_THREAD_ID;
  if (!known_way || timer.id < 0 || timer.target < 0 ||
      (timer.notify != SIGEV_NONE && (timer.signal < 1 || timer.signal > 64)))
    image::damaged("a timer");
}

}  // namespace

const image::Fields<PosixTimer>& fields_of(const PosixTimer* /*type*/) {
  using Field = image::Field<PosixTimer>;
  static const image::Fields<PosixTimer> fields = {
      "timer",
      {{"id", &PosixTimer::id, ""},
       {"clock", &PosixTimer::clock,
        "as `/proc/PID/timers` shows it; that of CPU time has the id of its thread or process in "
        "it"},
       {"notify", &PosixTimer::notify, "SIGEV_ number"},
       {"signal", &PosixTimer::signal, ""},
       {"value", &PosixTimer::value, "`sigev_value`"},
       {"target", &PosixTimer::target,
        "the `tid` of a thread for SIGEV_THREAD_ID; 0 when it has ended"},
       Field::as<TimerTime<timespec>>("remaining",
                                      image::inside(&PosixTimer::setting, &itimerspec::it_value),
                                      "seconds and nanoseconds; zeros: it does not run"),
       Field::as<TimerTime<timespec>>(
           "interval", image::inside(&PosixTimer::setting, &itimerspec::it_interval), "likewise")},
      check_timer};
  return fields;
}

const image::Fields<TimerState>& fields_of(const TimerState* /*type*/) {
  static const image::Fields<TimerState> fields = {
      "timers",
      {image::Field<TimerState>::as<image::Array<itimerval, 3, Interval>>(
           "interval", &TimerState::interval,
           "the timers of setitimer(2), ITIMER_REAL, ITIMER_VIRTUAL and ITIMER_PROF: of each what "
           "remains (zeros: it does not run) and the interval, in seconds and microseconds"),
       {"posix", &TimerState::posix, "the timers of timer_create(2), in ascending order of `id`"}},
      [](TimerState& state) {
        const auto disorder = std::adjacent_find(
            state.posix.begin(), state.posix.end(),
            [](const PosixTimer& one, const PosixTimer& next) { return one.id >= next.id; });
        if (disorder != state.posix.end()) image::damaged("a timer");
      }};
  return fields;
}

namespace {

// What timer_create(2) is given: 64 bytes in all.
struct Event {
  std::uint64_t value = 0;
  std::int32_t signal = 0;
  std::int32_t notify = 0;
  std::int32_t thread = 0;
  std::array<std::int32_t, 11> unused{};
};
static_assert(sizeof(Event) == sizeof(sigevent));

class TimerMaker {
 public:
  explicit TimerMaker(tracee::Inferior& inferior)
      : inferior_(inferior),
        ids_can_be_chosen_(inferior.attempt(SYS_prctl, {kSetRestoreIds, 1, 0, 0, 0}) == 0) {}
  TimerMaker(TimerMaker&&) = delete;
  ~TimerMaker() {
    if (!ids_can_be_chosen_) return;
    try {
      inferior_.attempt(SYS_prctl, {kSetRestoreIds, 0, 0, 0, 0});
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): what comes next tells of it
    }
  }

  /// 0, or -errno.
  std::int64_t make(clockid_t clock, const Event& event, int id) {
    // Without the choice the kernel counts up: timers are made and deleted until it is there.
    constexpr int kMostUnused = 1'000'000;
    const auto event_at = inferior_.put_value(event);
    const auto id_at = inferior_.reserve<int>();
    for (;;) {
      id_at.write(id);
      const std::int64_t result = inferior_.attempt(SYS_timer_create, {clock, event_at, id_at});
      if (result != 0) return result;
      const int got = id_at.read();
      if (got == id) return 0;
      inferior_.attempt(SYS_timer_delete, {got});
      if (got > id || id - got > kMostUnused) return -ERANGE;
      skip(got + 1, id);
    }
  }

 private:
  void skip(int from, int to) {
    const auto out = inferior_.reserve<int>();
    tracee::Batch batch(inferior_);
    for (; from < to; ++from) {
      batch.add(SYS_timer_create, {CLOCK_MONOTONIC, 0, out});
      batch.add(SYS_timer_delete, {from});
    }
    batch.run_all("reach the id of a timer");
  }

  tracee::Inferior& inferior_;
  bool ids_can_be_chosen_ = false;
};

Tid now_called(const std::map<Tid, Tid>& ids, Tid then) {
  const auto found = ids.find(then);
  return found == ids.end() ? 0 : found->second;
}

}  // namespace

void create_timers(RestoreContext& inferior, const TimerState& state,
                   const std::map<Tid, Tid>& ids) {
  if (state.posix.empty()) return;
  TimerMaker maker(inferior);
  for (const PosixTimer& timer : state.posix) {
    Event event{timer.value, timer.signal, timer.notify, 0, {}};
    if (timer.notify == SIGEV_THREAD_ID) {
      event.thread = now_called(ids, timer.target);
      if (event.thread == 0) event.notify = SIGEV_NONE;  // no thread was left to get its signal
    }
    clockid_t clock = timer.clock;
    if (const auto cpu = cpu_clock(clock)) {
      const Tid measured = cpu->id != 0 ? now_called(ids, cpu->id) : event.thread;
      if (cpu->id != 0 && measured == 0) continue;  // told at the save
      if (measured != 0 && (cpu->id != 0 || cpu->of_thread)) clock = with_id(clock, measured);
    } else if (clock < 0) {
      continue;
    }
    std::int64_t result = maker.make(clock, event, timer.id);
    if (result == -EPERM || result == -EOPNOTSUPP) {
      if (clock == CLOCK_REALTIME_ALARM) result = maker.make(CLOCK_REALTIME, event, timer.id);
      if (clock == CLOCK_BOOTTIME_ALARM) result = maker.make(CLOCK_BOOTTIME, event, timer.id);
      if (result == 0)
        inferior.notes.push_back(
            fmt::format("timer {}: it no longer wakes the machine from suspension", timer.id));
    }
    if (result != 0)
      inferior.notes.push_back(
          fmt::format("timer {}: it cannot be made again ({}): it never expires", timer.id,
                      describe_errno(tracee::error_of(result))));
  }
}

namespace {

// In the past, by as much as it was, so that a repeating timer keeps its beat.
itimerspec setting_in_the_past(tracee::Inferior& inferior, const PosixTimer& timer) {
  itimerspec setting{timer.setting.it_interval, {0, 1}};
  const auto now_at = inferior.reserve<timespec>();
  const std::int64_t result = inferior.attempt(SYS_clock_gettime, {timer.clock, now_at});
  if (result != 0 || timer.clock < 0 || is_zero(timer.setting.it_interval)) return setting;
  const timespec now = now_at.read();
  const auto& left = timer.setting.it_value;
  const auto& step = timer.setting.it_interval;
  timespec when{now.tv_sec + left.tv_sec - step.tv_sec, now.tv_nsec + left.tv_nsec - step.tv_nsec};
  when.tv_sec += when.tv_nsec / kNanosecondsPerSecond;
  when.tv_nsec %= kNanosecondsPerSecond;
  if (when.tv_nsec < 0) {
    --when.tv_sec;
    when.tv_nsec += kNanosecondsPerSecond;
  }
  if (when.tv_sec >= 0 && !is_zero(when)) setting.it_value = when;
  return setting;
}

void start_posix_timers(tracee::Inferior& inferior, const std::vector<PosixTimer>& timers,
                        const std::vector<siginfo_t>& queued) {
  constexpr std::size_t kAtOnce = 256;
  std::array<itimerspec, kAtOnce> settings{};
  const auto settings_at = inferior.reserve<decltype(settings)>();
  tracee::Batch batch(inferior);
  const auto start = [&] {
    settings_at.write(settings);
    batch.run();  // what could not be made was said before
    batch.clear();
  };
  for (const PosixTimer& timer : timers) {
    if (is_zero(timer.setting.it_value) || waits_for_its_signal(queued, timer)) continue;
    settings.at(batch.size()) = timer.setting;
    const Addr at = settings_at.at() + batch.size() * sizeof(itimerspec);
    batch.add(SYS_timer_settime, {timer.id, 0, at, 0});
    if (batch.size() == kAtOnce) start();
  }
  start();
}

}  // namespace

bool expire_again(tracee::Inferior& inferior, const TimerState& state, const siginfo_t& info,
                  const std::function<std::vector<siginfo_t>()>& queued) {
  const auto found = std::find_if(state.posix.begin(), state.posix.end(),
                                  [&](const PosixTimer& timer) { return is_of(info, timer); });
  if (found == state.posix.end()) return false;
  const PosixTimer& timer = *found;
  const auto set = [&](int flags, const itimerspec& setting) {
    return inferior.attempt(SYS_timer_settime, {timer.id, flags, inferior.put_value(setting), 0});
  };
  // It could not be made: its signal is a signal still.
  if (set(TIMER_ABSTIME, setting_in_the_past(inferior, timer)) != 0) return false;
  constexpr int kMostLooks = 10'000;
  for (int look = 0; look < kMostLooks; ++look) {
    if (is_queued(queued(), timer)) return true;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  set(0, {});  // it would come later, and be one too many
  return false;
}

void start_timers(tracee::Inferior& inferior, const TimerState& state,
                  const std::vector<siginfo_t>& queued) {
  start_posix_timers(inferior, state.posix, queued);

  auto interval = state.interval;
  // Expired, and its signal not taken yet: it starts anew when that is done. Only an expiry brings
  // the kernel to that state; the signal is queued already and stays the only one.
  auto& real = interval[ITIMER_REAL];
  const bool alarm_is_queued = std::any_of(queued.begin(), queued.end(), [](const siginfo_t& info) {
    return info.si_signo == SIGALRM && info.si_code == SI_KERNEL;
  });
  if (is_zero(real.it_value) && !is_zero(real.it_interval) && alarm_is_queued)
    real.it_value = {0, 1};
  for (std::size_t i = 0; i < interval.size(); ++i)
    if (!is_zero(interval.at(i).it_value))
      inferior.call("setitimer", SYS_setitimer, {i, inferior.put_value(interval.at(i)), 0});
}

}  // namespace ckpt::state
