// /proc/PID/timers (proc(5)).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/types.hpp"

namespace ckpt::proc {

/// One timer of timer_create(2).
struct Timer {
  int id = 0;
  int signal = 0;
  std::uint64_t value = 0;  // sigev_value
  int notify = 0;           // SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD or SIGEV_THREAD_ID
  Tid target = 0;           // the process or, for SIGEV_THREAD_ID, the thread; as we see it
  int clock = 0;
};

/// Parses the text of /proc/PID/timers. Throws Error (unsupported) naming a line it cannot parse.
std::vector<Timer> parse_timers(std::string_view text);

}  // namespace ckpt::proc
