// The start of a recording and its events, as they are in a chunk, and the file as it is.
#include "recording/encoding.hpp"
#include "recording/file.hpp"

#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto whole = std::as_bytes(std::span(data, size));
  ckpt::fuzz::expect_result_or_error([&] {
    ckpt::recording::Reader reader(ckpt::fuzz::file_of(ckpt::fuzz::text_of(data, size)));
    while (reader.next()) {
    }
  });
  ckpt::fuzz::expect_result_or_error([&] {
    auto rest = whole;
    while (!rest.empty()) static_cast<void>(ckpt::recording::decode_event(rest));
  });
  return ckpt::fuzz::expect_result_or_error([&] {
    auto rest = whole;
    static_cast<void>(ckpt::recording::decode_start(rest));
  });
}
