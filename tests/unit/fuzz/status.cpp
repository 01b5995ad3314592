// /proc/PID/status.
#include "proc/status.hpp"
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return ckpt::fuzz::expect_result_or_error(
      [&] { ckpt::proc::parse_status(ckpt::fuzz::text_of(data, size)); });
}
