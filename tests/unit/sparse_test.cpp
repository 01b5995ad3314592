// Files of which little is stored: they may say of themselves what they like, and cost no more than
// what is stored of them.
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/io.hpp"
#include "forge.hpp"
#include "image/cbor.hpp"
#include "image/fields.hpp"
#include "image/format.hpp"
#include "image/reader.hpp"
#include "support.hpp"

namespace ckpt::image {
namespace {

using test::bytes_of;
using test::expect_error;

constexpr std::string_view kHole = "most of it is a hole";

/// A file with this content in which pages of zeros are holes, `size_bytes` long (0: as the
/// content).
UniqueFd sparse_file(std::string_view content, std::uint64_t size_bytes = 0) {
  UniqueFd fd(::memfd_create("sparse", MFD_CLOEXEC));
  const std::string zeros(kPageSize, '\0');
  for (std::size_t at = 0; at < content.size(); at += kPageSize) {
    const auto page = content.substr(at, kPageSize);
    if (page != std::string_view(zeros).substr(0, page.size()))
      pwrite_all(fd.get(), bytes_of(page), at, "sparse");
  }
  const auto size = static_cast<off_t>(std::max<std::uint64_t>(content.size(), size_bytes));
  EXPECT_EQ(::ftruncate(fd.get(), size), 0);
  return fd;
}

Reader read_sparse(std::string_view content, std::uint64_t size_bytes = 0) {
  return Reader::from_fd(sparse_file(content, size_bytes), "snap.ckpt");
}

void expect_refused(std::string_view content, std::string_view why, std::uint64_t size_bytes = 0) {
  expect_error([&] { read_sparse(content, size_bytes); }, ErrorKind::damaged, std::string(why));
}

/// A record whose key `x` is an array of `count` zeros, a byte each.
std::string record_of_zeros(std::uint32_t count) {
  const auto cbor = Json::to_cbor(Json{{"extents", Json::array({Json::binary({})})}});
  std::string text(cbor.begin(), cbor.end());
  text[0] = '\xa2';
  text += "\x61x\x9a";
  for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(count >> shift & 0xffU);
  return text + std::string(count, '\0');
}

std::string image_around(std::string_view cbor) { return test::forge_image(cbor); }

TEST(StoredBytes, HolesDoNotCount) {
  const UniqueFd fd(::memfd_create("sparse", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(fd.get(), 100 * kPageSize), 0);
  EXPECT_EQ(stored_bytes(fd.get(), 0, 100 * kPageSize), 0U);
  for (const std::uint64_t page : {3U, 4U, 50U})
    pwrite_all(fd.get(), bytes_of("x"), page * kPageSize, "sparse");
  struct Row {
    std::uint64_t offset;
    std::uint64_t size_bytes;
    std::uint64_t stored;
  };
  for (const Row& row :
       {Row{0, 100 * kPageSize, 3 * kPageSize}, Row{0, 3 * kPageSize, 0},
        Row{3 * kPageSize + 10, 20, 20}, Row{4 * kPageSize, 2 * kPageSize, kPageSize},
        Row{51 * kPageSize, 10 * kPageSize, 0}, Row{50 * kPageSize, 0, 0}})
    EXPECT_EQ(stored_bytes(fd.get(), row.offset, row.size_bytes), row.stored) << row.offset;
}

TEST(Sparse, ARecordInAHoleIsNotRead) {
  expect_refused(image_around(record_of_zeros(16U << 20U)), kHole);
  expect_refused(image_around(record_of_zeros(1U << 20U)), kHole);
}

TEST(Sparse, HeadersInAHoleAreNotRead) {
  std::string file = test::forge_image(Json{{"extents", Json::array({Json::binary({})})}});
  Elf64_Ehdr header{};
  std::memcpy(&header, file.data(), sizeof header);
  header.e_phnum = PN_XNUM;
  header.e_shoff = file.size();
  std::memcpy(file.data(), &header, sizeof header);
  Elf64_Shdr many{};
  many.sh_info = 4U << 20U;
  test::append_struct(file, many);
  expect_refused(file, kHole, 1ULL << 30U);
}

TEST(Sparse, MoreItemsThanBytesAreNotParsed) {
  // As long as is read of this little, whatever is stored.
  EXPECT_NO_THROW(read_sparse(image_around(record_of_zeros(40'000))));
  std::string record = record_of_zeros(600'000);
  // A page in ten is stored: worth being read, but items of a byte each fill the holes.
  for (std::size_t at = 4000; at + 8 < record.size(); at += 10 * kPageSize) record[at] = '\1';
  expect_refused(image_around(record), "its record is malformed");
}

TEST(Sparse, ExtentsInAHoleAreNotRead) {
  constexpr std::uint64_t kEach = 1U << 20U;
  std::vector<Extent> extents;
  for (std::uint64_t i = 0; i < 1000; ++i)
    extents.push_back({Addr{0x10000000 + i * kEach}, (1 + i) * kEach, kEach, 0});
  expect_refused(test::forge_image(Json{{"extents", Json::array({encode(pack_extents(extents))})}}),
                 kHole, 1ULL << 40U);
}

TEST(Sparse, NoBytesAreTheMemoryOfTwoPlaces) {
  const std::vector<Extent> extents = {{Addr{0x10000000}, kPageSize, 2 * kPageSize, 0},
                                       {Addr{0x20000000}, 2 * kPageSize, kPageSize, 0}};
  std::string file =
      test::forge_image(Json{{"extents", Json::array({encode(pack_extents(extents))})}});
  file.resize(10 * kPageSize, 'x');
  expect_refused(file, "memory at 0x20000000");
}

TEST(Sparse, ACopyWithHolesIsRead) {
  Json threads = Json::array();
  // Extended state that is mostly zeros, as it is.
  for (int i = 0; i < 100; ++i) {
    std::vector<std::uint8_t> state(11'008);
    std::fill_n(state.begin(), 600, static_cast<std::uint8_t>(i + 1));
    threads.push_back({{"tid", i}, {"xstate", Json::binary(state)}});
  }
  const auto file =
      test::forge_image(Json{{"extents", Json::array({Json::binary({})})}, {"threads", threads}});
  const Reader reader = read_sparse(file);
  EXPECT_LT(reader.disk_bytes(), file.size());
  EXPECT_EQ(reader.record().at("threads").size(), 100U);
}

TEST(Cbor, ItemsAndContainersAreCounted) {
  const auto fits = [](const Json& value, std::uint64_t items, std::uint64_t containers) {
    const auto cbor = Json::to_cbor(value);
    return is_plain_cbor(std::as_bytes(std::span(cbor)), {8, items, containers});
  };
  const Json value = {{"a", Json::array({1, 2})}, {"b", nullptr}};  // a map, 2 keys, 2 values, 2
  EXPECT_TRUE(fits(value, 7, 2));
  EXPECT_FALSE(fits(value, 6, 2));
  EXPECT_FALSE(fits(value, 7, 1));
}

}  // namespace
}  // namespace ckpt::image
