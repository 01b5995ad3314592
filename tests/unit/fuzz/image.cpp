// A whole snapshot file: its ELF header, program headers and notes. The digests stop most of what
// the fuzzer makes; the target `record` goes on behind them.
#include "fuzz.hpp"
#include "image/reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return ckpt::fuzz::expect_result_or_error([&] {
    const auto reader = ckpt::image::Reader::from_fd(
        ckpt::fuzz::file_of(ckpt::fuzz::text_of(data, size)), "fuzz.ckpt");
    reader.verify_memory({});
  });
}
