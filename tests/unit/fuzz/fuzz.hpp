// What the fuzz targets share. A target gives bytes to a parser, which may take them or throw an
// Error; anything else is a finding.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/io.hpp"
#include "image/format.hpp"

// libFuzzer calls it; no header of libFuzzer declares it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace ckpt::fuzz {

/// Runs a parser; its errors must be one line.
template <typename Function>
int expect_result_or_error(Function function) {
  try {
    function();
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
  }
  return 0;
}

/// The same for each version of the format: the record of another one is damaged, or has its shape
/// by chance.
template <typename Function>
int in_each_version(Function function) {
  for (std::uint32_t version = 1; version <= image::kFormatVersion; ++version)
    expect_result_or_error([&] { function(version); });
  return 0;
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

inline UniqueFd file_of(std::string_view content) {
  UniqueFd fd(::memfd_create("fuzz", MFD_CLOEXEC));
  write_all(fd.get(), content, "memfd");
  return fd;
}

}  // namespace ckpt::fuzz
