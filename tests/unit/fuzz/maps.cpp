// /proc/PID/maps and smaps.
#include "proc/maps.hpp"

#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return ckpt::fuzz::expect_result_or_error([&] {
    ckpt::Addr last;
    for (const auto& mapping : ckpt::proc::parse_maps(ckpt::fuzz::text_of(data, size))) {
      // What everything above relies on.
      if (mapping.start < last || mapping.end <= mapping.start) std::abort();
      last = mapping.end;
    }
  });
}
