// /proc/PID/timers.
#include "proc/timers.hpp"

#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return ckpt::fuzz::expect_result_or_error(
      [&] { ckpt::proc::parse_timers(ckpt::fuzz::text_of(data, size)); });
}
