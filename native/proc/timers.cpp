#include "proc/timers.hpp"

#include <csignal>

#include "base/error.hpp"
#include "proc/text.hpp"

namespace ckpt::proc {

namespace {

// "thread/tid.N": how (fs/proc/base.c: show_timer), and whom.
bool parse_notify(std::string_view text, Timer& timer) {
  const std::string_view how = cut(text, '/');
  const std::string_view whom = cut(text, '.');
  const auto target = parse_number<Tid>(text);
  if (!target || (whom != "pid" && whom != "tid")) return false;
  timer.target = *target;
  const int thread = whom == "tid" ? SIGEV_THREAD_ID : 0;
  if (how == "signal")
    timer.notify = SIGEV_SIGNAL | thread;
  else if (how == "none")
    timer.notify = SIGEV_NONE;
  else if (how == "thread")
    timer.notify = SIGEV_THREAD;
  else
    return false;
  return true;
}

bool parse_signal(std::string_view text, Timer& timer) {
  const auto number = parse_number<int>(cut(text, '/'));
  const auto value = parse_number<std::uint64_t>(text, 16);
  if (!number || !value) return false;
  timer.signal = *number;
  timer.value = *value;
  return true;
}

}  // namespace

std::vector<Timer> parse_timers(std::string_view text) {
  std::vector<Timer> timers;
  while (!text.empty()) {
    const std::string_view line = cut(text, '\n');
    std::string_view value = line;
    const std::string_view key = cut(value, ':');
    skip_blanks(value);
    bool good = true;
    if (key == "ID") {
      const auto id = parse_number<int>(value);
      good = id && *id >= 0;
      timers.emplace_back().id = id.value_or(0);
    } else if (timers.empty()) {
      good = false;
    } else if (key == "signal") {
      good = parse_signal(value, timers.back());
    } else if (key == "notify") {
      good = parse_notify(value, timers.back());
    } else if (key == "ClockID") {
      const auto clock = parse_number<int>(value);
      good = clock.has_value();
      timers.back().clock = clock.value_or(0);
    }
    if (!good) fail(ErrorKind::unsupported, "/proc/PID/timers: cannot parse \"{}\"", line);
  }
  return timers;
}

}  // namespace ckpt::proc
