// The record of a snapshot, with digests that are right.
#include "forge.hpp"
#include "fuzz.hpp"
#include "image/reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return ckpt::fuzz::in_each_version([&](std::uint32_t version) {
    const std::string file = ckpt::test::forge_image(ckpt::fuzz::text_of(data, size), version);
    const auto reader = ckpt::image::Reader::from_fd(ckpt::fuzz::file_of(file), "fuzz.ckpt");
    for (const auto& extent : reader.extents())
      if (extent.file_offset + extent.size_bytes > file.size()) std::abort();
    reader.verify_memory({});
  });
}
