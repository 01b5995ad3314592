// The snapshot file: what was written is read again, and whatever was changed in between is an
// Error, never a crash.
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/digest.hpp"
#include "base/fault.hpp"
#include "base/io.hpp"
#include "forge.hpp"
#include "image/fields.hpp"
#include "image/format.hpp"
#include "image/reader.hpp"
#include "image/relabel.hpp"
#include "image/writer.hpp"
#include "support.hpp"

namespace ckpt::image {
namespace {

using test::bytes_of;
using test::error_of;
using test::expect_error;
using test::TempDir;

std::vector<std::byte> pattern(std::uint64_t size_bytes, unsigned seed) {
  std::vector<std::byte> bytes(size_bytes);
  std::uint32_t state = seed * 2654435761U + 1;
  for (auto& byte : bytes) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<std::byte>(state >> 24U);
  }
  return bytes;
}

Note text_note(const std::string& owner, std::uint32_t type, std::string_view text) {
  const auto bytes = bytes_of(text);
  return {owner, type, {bytes.begin(), bytes.end()}};
}

/// Two mappings, of which some pages hold bytes; the record tells which.
std::uint64_t write_small(const std::string& path, Json record = Json::object(),
                          bool overwrite = false) {
  std::vector<Segment> segments = {{Addr{0x400000}, 4 * kPageSize, 4 * kPageSize, PF_R | PF_X, 0},
                                   {Addr{0x7f0000000000}, 1ULL << 40U, 0, PF_R | PF_W, 0}};
  Writer writer(path, overwrite, segments);
  std::vector<Extent> extents;
  for (const std::uint64_t page : {0U, 2U}) {
    const auto bytes = pattern(kPageSize, static_cast<unsigned>(page));
    const Extent extent{segments[0].start + page * kPageSize,
                        segments[0].file_offset + page * kPageSize, kPageSize, digest64(bytes)};
    writer.write_memory(bytes, extent.file_offset);
    extents.push_back(extent);
  }
  if (!record.contains("extents")) record["extents"] = Json::array({encode(pack_extents(extents))});
  writer.finish({text_note("CORE", NT_PRSTATUS, "registers"), text_note("GNU", 7, "")}, record);
  return writer.publish();
}

std::string slurp(const std::string& path) { return read_file(path); }

UniqueFd memory_file(std::string_view content) {
  UniqueFd fd(::memfd_create("image", MFD_CLOEXEC));
  write_all(fd.get(), content, "image");
  return fd;
}

Reader read_text(std::string_view content) {
  return Reader::from_fd(memory_file(content), "snap.ckpt");
}

std::string forge(std::string_view cbor) { return test::forge_image(cbor); }

std::string forge_record(const Json& record) { return test::forge_image(record); }

// --- What was written is read
// ---------------------------------------------------------------------

TEST(Image, IsReadAsItWasWritten) {
  const TempDir dir;
  const std::string path = dir / "a.ckpt";
  write_small(path, Json{{"name", "before-crash"}, {"threads", Json::array({1, 2, 3})}});
  const Reader reader = Reader::open(path);
  EXPECT_EQ(reader.record().at("name"), "before-crash");
  EXPECT_EQ(reader.record().at("threads").size(), 3U);
  EXPECT_FALSE(reader.record().contains("extents"));
  ASSERT_EQ(reader.extents().size(), 2U);
  EXPECT_EQ(reader.extents()[1].start, Addr{0x402000});
  std::vector<std::byte> bytes(kPageSize);
  ASSERT_TRUE(pread_exact(reader.fd(), bytes, reader.extents()[1].file_offset, "test"));
  EXPECT_EQ(bytes, pattern(kPageSize, 2));
  EXPECT_NO_THROW(reader.verify_memory({}));
}

TEST(Image, AnotherLabelLeavesTheRestAsItWas) {
  const TempDir dir;
  const std::string path = dir / "a.ckpt";
  // Texts need not be UTF-8.
  write_small(path, Json{{"name", "old"}, {"message", "odd \xff"}, {"threads", {1, 2}}});
  const Reader before = Reader::open(path);
  const std::uint64_t length = before.file_bytes();
  relabel(path, {"new", std::nullopt});
  const Reader after = Reader::open(path);
  EXPECT_EQ(after.record().at("name"), "new");
  EXPECT_EQ(after.record().at("message").get_ref<const std::string&>(), "odd \xff");
  EXPECT_EQ(after.record().at("threads"), before.record().at("threads"));
  EXPECT_EQ(pack_extents(after.extents()), pack_extents(before.extents()));
  EXPECT_NO_THROW(after.verify_memory({}));
  // Who has it open goes on reading the same.
  EXPECT_NO_THROW(before.verify_memory({}));
  const std::uint64_t grown = after.file_bytes();
  EXPECT_GT(grown, length);
  // The room of old notes is used again, and then the file grows no more.
  for (int i = 0; i < 6; ++i) {
    relabel(path, {std::nullopt, std::string(static_cast<std::size_t>(i), 'm')});
    const Reader again = Reader::open(path);
    EXPECT_EQ(again.record().at("message"), std::string(static_cast<std::size_t>(i), 'm'));
    EXPECT_EQ(again.record().at("name"), "new");
    EXPECT_LE(again.file_bytes(), grown + kPageSize);
    EXPECT_NO_THROW(again.verify_memory({}));
  }
}

TEST(Image, OnlyASnapshotIsLabelled) {
  const TempDir dir;
  const std::string path = dir / "text";
  const UniqueFd file = open_file(path, O_WRONLY | O_CREAT, 0600);
  write_all(file.get(), "not a snapshot at all, but long enough to hold an ELF header's bytes...",
            path);
  const std::string content = slurp(path);
  expect_error([&] { relabel(path, {"x", std::nullopt}); }, ErrorKind::damaged, "not a snapshot");
  EXPECT_EQ(slurp(path), content);
}

TEST(Image, IsForItsOwnerOnly) {
  const TempDir dir;
  write_small(dir / "a.ckpt");
  struct stat status {};
  ASSERT_EQ(::stat((dir / "a.ckpt").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0600U);
}

TEST(Image, HolesTakeNoSpace) {
  const TempDir dir;
  const std::uint64_t on_disk = write_small(dir / "a.ckpt");
  struct stat status {};
  ASSERT_EQ(::stat((dir / "a.ckpt").c_str(), &status), 0);
  // Of a TiB of memory, only what stands in the file makes it longer.
  EXPECT_LT(status.st_size, static_cast<off_t>(8 * kPageSize));
  EXPECT_LT(on_disk, 8 * kPageSize);
}

TEST(Image, IsACoreFile) {
  const TempDir dir;
  write_small(dir / "a.ckpt");
  const std::string file = slurp(dir / "a.ckpt");
  Elf64_Ehdr header{};
  std::memcpy(&header, file.data(), sizeof header);
  EXPECT_EQ(header.e_type, ET_CORE);
  EXPECT_EQ(header.e_phnum, 3);
  std::vector<Elf64_Phdr> table(3);
  std::memcpy(table.data(), file.data() + header.e_phoff, sizeof(Elf64_Phdr) * 3);
  EXPECT_EQ(table[0].p_type, PT_NOTE);
  for (int i : {1, 2}) {
    const Elf64_Phdr& load = table[static_cast<std::size_t>(i)];
    EXPECT_EQ(load.p_type, PT_LOAD);
    EXPECT_EQ(load.p_offset % kPageSize, 0U);
    EXPECT_LE(load.p_filesz, load.p_memsz);
  }
  EXPECT_EQ(table[2].p_memsz, 1ULL << 40U);
  EXPECT_EQ(table[2].p_filesz, 0U);
}

TEST(Image, MayHaveMoreMappingsThanAHeaderCounts) {
  const TempDir dir;
  const std::string path = dir / "a.ckpt";
  for (const std::size_t count : {PN_XNUM - 2, PN_XNUM - 1, PN_XNUM, 100'000}) {
    std::vector<Segment> segments(count);
    for (std::size_t i = 0; i < count; ++i) {
      segments[i].start = Addr{(i + 1) * 2 * kPageSize};
      segments[i].memory_bytes = kPageSize;
    }
    Writer writer(path, true, segments);
    writer.finish({}, Json{{"extents", Json::array({Json::binary({})})}, {"count", count}});
    writer.publish();
    EXPECT_EQ(Reader::open(path).record().at("count"), count);
  }
}

TEST(Image, ManyExtentsAreCheckedOnManyThreads) {
  const TempDir dir;
  const std::string path = dir / "a.ckpt";
  constexpr std::uint64_t kChunkBytes = 1U << 20U;
  constexpr std::size_t kChunks = 20;
  std::vector<Segment> segments = {
      {Addr{0x10000000}, kChunks * kChunkBytes, kChunks * kChunkBytes, PF_R, 0}};
  Writer writer(path, false, segments);
  std::vector<Extent> extents;
  for (std::size_t i = 0; i < kChunks; ++i) {
    const auto bytes = pattern(kChunkBytes, static_cast<unsigned>(i));
    extents.push_back({segments[0].start + i * kChunkBytes,
                       segments[0].file_offset + i * kChunkBytes, kChunkBytes, digest64(bytes)});
    writer.write_memory(bytes, extents.back().file_offset);
  }
  writer.finish({}, Json{{"extents", Json::array({encode(pack_extents(extents))})}});
  writer.publish();
  EXPECT_NO_THROW(
      Reader::open(path).verify_memory([](std::uint64_t, std::uint64_t) { return true; }));

  const UniqueFd fd = open_file(path, O_WRONLY);
  pwrite_all(fd.get(), bytes_of("x"), extents[13].file_offset + 77, path);
  expect_error([&] { Reader::open(path).verify_memory({}); }, ErrorKind::damaged,
               fmt::format("memory at {}", extents[13].start));
}

TEST(Image, ADamagedPageIsNamed) {
  const TempDir dir;
  const std::string path = dir / "a.ckpt";
  write_small(path);
  const std::uint64_t offset = Reader::open(path).extents()[1].file_offset;
  const UniqueFd fd = open_file(path, O_WRONLY);
  pwrite_all(fd.get(), bytes_of("damage"), offset + 100, path);
  const Reader reader = Reader::open(path);
  expect_error([&] { reader.verify_memory({}); }, ErrorKind::damaged, "memory at 0x402000");
}

// --- Names
// ----------------------------------------------------------------------------------------

TEST(PendingFile, HasNoNameUntilItIsComplete) {
  const TempDir dir;
  {
    PendingFile file(dir / "x", false);
    write_all(file.fd(), "half", file.path());
    EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(PendingFile, NeverReplacesUnasked) {
  const TempDir dir;
  const UniqueFd taken = open_file(dir / "x", O_WRONLY | O_CREAT, 0600);
  expect_error([&] { PendingFile(dir / "x", false); }, ErrorKind::exists, "x exists already");
  PendingFile late(dir / "y", false);
  const UniqueFd other = open_file(dir / "y", O_WRONLY | O_CREAT, 0600);
  write_all(other.get(), "theirs", "y");
  expect_error([&] { late.publish(); }, ErrorKind::exists, "y exists already");
  EXPECT_EQ(read_file(dir / "y"), "theirs");
}

TEST(PendingFile, ReplacesWhenAsked) {
  const TempDir dir;
  for (const char* text : {"first", "second", "third"}) {
    PendingFile file(dir / "x", true);
    write_all(file.fd(), text, file.path());
    file.publish();
    EXPECT_EQ(read_file(dir / "x"), text);
  }
  std::size_t entries = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(dir.path()))
    ++entries;
  EXPECT_EQ(entries, 1U);
}

TEST(PendingFile, ADirectoryThatIsNotThereIsNamed) {
  expect_error([] { PendingFile("/nonexistent/x", false); }, ErrorKind::system, "/nonexistent/x");
}

TEST(Writer, AFaultBeforePublishingLeavesNothing) {
  const TempDir dir;
  arm_fault("save-publish");
  expect_error([&] { write_small(dir / "a.ckpt"); }, ErrorKind::fault, "save-publish");
  arm_fault("");
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

// --- Not a snapshot
// -------------------------------------------------------------------------------

TEST(Reader, AMissingFileIsNotFound) {
  expect_error([] { Reader::open("/nonexistent/x.ckpt"); }, ErrorKind::not_found,
               "/nonexistent/x.ckpt: no such file");
}

TEST(Reader, WhatIsNotARegularFileIsNotOpenedForLong) {
  const TempDir dir;
  ASSERT_EQ(::mkfifo((dir / "fifo").c_str(), 0600), 0);
  expect_error([&] { Reader::open(dir / "fifo"); }, ErrorKind::damaged, "not a regular file");
  expect_error([&] { Reader::open(dir.path()); }, ErrorKind::damaged, "not a regular file");
  expect_error([] { Reader::open("/dev/zero"); }, ErrorKind::damaged, "not a regular file");
}

TEST(Reader, ForeignFilesAreRefused) {
  for (const std::string& text :
       {std::string(), std::string("x"), std::string(100, '\0'), std::string(10'000, 'x'),
        std::string("\x7f"
                    "ELF"),
        "#!/bin/sh\n" + std::string(100, ' ')}) {
    expect_error([&] { read_text(text); }, ErrorKind::damaged, "not a snapshot");
  }
  expect_error([] { Reader::open("/proc/self/exe"); }, ErrorKind::damaged, "not a snapshot");
}

TEST(Reader, AFutureVersionIsRefusedByNumber) {
  const TempDir dir;
  write_small(dir / "a.ckpt");
  std::string file = slurp(dir / "a.ckpt");
  const std::size_t at = file.rfind(std::string_view("CKPT\0", 5)) + 8;
  file[at] = kFormatVersion + 1;
  expect_error([&] { read_text(file); }, ErrorKind::unsupported, "format version 3");
}

// --- Damage
// ---------------------------------------------------------------------------------------

TEST(Reader, EveryTruncationIsFound) {
  const TempDir dir;
  write_small(dir / "a.ckpt");
  const std::string file = slurp(dir / "a.ckpt");
  for (std::size_t size = 0; size < file.size();
       size += size < 4096 || size > file.size() - 600 ? 1 : 97) {
    const auto error = error_of([&] { read_text(file.substr(0, size)).verify_memory({}); });
    ASSERT_TRUE(error.has_value()) << "cut to " << size << " of " << file.size();
    EXPECT_EQ(error->kind(), ErrorKind::damaged) << error->what();
  }
}

TEST(Reader, EveryFlippedByteOutsideMemoryIsFound) {
  const TempDir dir;
  const Json record = {{"name", "x"}, {"numbers", Json::array({1, 2.5, nullptr, true})}};
  write_small(dir / "a.ckpt", record);
  const std::string file = slurp(dir / "a.ckpt");
  Elf64_Phdr notes{};
  std::memcpy(&notes, file.data() + sizeof(Elf64_Ehdr), sizeof notes);
  const std::size_t front = sizeof(Elf64_Ehdr) + 3 * sizeof(Elf64_Phdr);
  // Padding, behind our note's name and its content, is never looked at.
  const std::size_t name_padding = file.rfind(std::string_view("CKPT\0", 5)) + 5;
  const std::size_t padding = file.size() - 3;
  for (std::size_t at = 0; at < file.size(); ++at) {
    if ((at >= front && at < notes.p_offset) || at >= padding ||
        (at >= name_padding && at < name_padding + 3))
      continue;
    for (const unsigned char bits : {0x01, 0x80, 0xff}) {
      std::string bad = file;
      bad[at] = static_cast<char>(static_cast<unsigned char>(bad[at]) ^ bits);
      const auto error = error_of([&] { read_text(bad); });
      ASSERT_TRUE(error.has_value()) << "byte " << at << " of " << file.size();
      EXPECT_TRUE(error->kind() == ErrorKind::damaged || error->kind() == ErrorKind::unsupported)
          << error->what();
    }
  }
}

TEST(Reader, EveryFlippedByteOfMemoryIsFound) {
  const TempDir dir;
  write_small(dir / "a.ckpt");
  const std::string file = slurp(dir / "a.ckpt");
  const auto extents = read_text(file).extents();
  for (const Extent& extent : extents) {
    for (std::uint64_t at = 0; at < extent.size_bytes; at += 61) {
      std::string bad = file;
      bad[extent.file_offset + at] ^= 1;
      const Reader reader = read_text(bad);
      EXPECT_THROW(reader.verify_memory({}), Error);
    }
  }
}

// --- Forgery: all digests are right, the content is not
// -------------------------------------------

TEST(Forged, TheForgerWorks) {
  EXPECT_EQ(read_text(forge_record(Json{{"extents", Json::array({Json::binary({})})}, {"x", 5}}))
                .record()
                .at("x"),
            5);
}

TEST(Forged, RecordsThatAreNotWhatTheyShouldBe) {
  const std::vector<std::uint8_t> uneven(33);
  for (const Json& record :
       {Json(), Json(5), Json("text"), Json::array(), Json::object(), Json{{"extents", 5}},
        Json{{"extents", Json::array()}}, Json{{"extents", "text"}},
        Json{{"extents", Json::binary({})}}, Json{{"extents", Json::array({5})}},
        Json{{"extents", Json::array({Json::binary(uneven)})}}}) {
    expect_error([&] { read_text(forge_record(record)); }, ErrorKind::damaged, "damaged");
  }
}

TEST(Forged, BytesThatAreNotCbor) {
  using namespace std::string_literals;
  for (const std::string& cbor : {
           ""s, "\xff"s,
           "\x5a\xff\xff\xff\xff"s,                  // a byte string of 4 GiB
           "\x5b\x7f\xff\xff\xff\xff\xff\xff\xff"s,  // and of 8 EiB
           "\x7b\xff\xff\xff\xff\xff\xff\xff\xff"s,  // text likewise
           "\x9b\xff\xff\xff\xff\xff\xff\xff\xff"s,  // an array
           "\xbb\xff\xff\xff\xff\xff\xff\xff\xff"s,  // a map
           "\xa1\x01\x02"s,                          // a key that is no text
           "\x1c"s,                                  // reserved
           "\xd8\x18\x00"s,                          // a tag
           "\xa1\x61x"s,                             // no value
           "\x00\x00"s,                              // more than one item
       }) {
    expect_error([&] { read_text(forge(cbor)); }, ErrorKind::damaged, "damaged");
  }
}

TEST(Forged, DeepNestingOverflowsNoStack) {
  // Arrays, maps, tags, and strings of indefinite length, each inside the one before.
  for (const char* level : {"\x81", "\x9f", "\xa1\x61k", "\xbf\x61k", "\xc1", "\x5f", "\x7f"}) {
    std::string cbor;
    for (int i = 0; i < 2'000'000; ++i) cbor += level;
    expect_error([&] { read_text(forge(cbor)); }, ErrorKind::damaged, "damaged");
  }
}

TEST(Forged, ExtentsThatCannotBe) {
  const std::string whole = forge_record(Json{{"extents", Json::array({Json::binary({})})}});
  constexpr std::uint64_t kLast = UINT64_MAX - kPageSize + 1;
  for (const std::vector<Extent>& extents : std::vector<std::vector<Extent>>{
           {{Addr{0x1000}, 0, 0, 0}},                         // empty
           {{Addr{0x1000}, 0, 100, 0}},                       // not pages
           {{Addr{0x1001}, 0, kPageSize, 0}},                 // not aligned
           {{Addr{0x1000}, UINT64_MAX, kPageSize, 0}},        // behind the end
           {{Addr{0x1000}, whole.size() * 2, kPageSize, 0}},  // likewise
           {{Addr{0x1000}, kPageSize, 1ULL << 62U, 0}},       // longer than the file
           {{Addr{kLast}, 0, 2 * kPageSize, 0}},              // around the top
           {{Addr{0x5000}, 0, kPageSize, 0}, {Addr{0x1000}, 0, kPageSize, 0}},      // descending
           {{Addr{0x1000}, 0, 2 * kPageSize, 0}, {Addr{0x2000}, 0, kPageSize, 0}},  // overlapping
       }) {
    expect_error(
        [&] {
          read_text(forge_record(Json{{"extents", Json::array({encode(pack_extents(extents))})}}));
        },
        ErrorKind::damaged, "memory at");
  }
}

TEST(Forged, BytesOfAnotherTypeAreDamage) {
  for (const Json& value : {Json(), Json(1), Json("text"), Json::array({1, 2}), Json::object()}) {
    expect_error([&] { unpack_bytes(value); }, ErrorKind::damaged, "damaged");
    expect_error([&] { unpack_struct<std::uint64_t>(value, "a field"); }, ErrorKind::damaged,
                 "damaged");
  }
  const std::uint64_t number = 0x1122334455667788;
  EXPECT_EQ(unpack_struct<std::uint64_t>(pack_bytes(&number, sizeof number), "x"), number);
  expect_error([&] { unpack_struct<std::uint64_t>(pack_bytes(&number, 7), "the mask"); },
               ErrorKind::damaged, "the mask");
}

// --- Progress
// -------------------------------------------------------------------------------------

class LargeImage : public ::testing::Test {
 protected:
  // The most that is read of what is stored: 512 MiB, most of them a hole.
  void SetUp() override {
    constexpr std::uint64_t kChunkBytes = 32U << 20U;
    constexpr std::uint64_t kChunks = 16;
    std::vector<Segment> segments = {
        {Addr{0x10000000}, kChunks * kChunkBytes, kChunks * kChunkBytes, PF_R, 0}};
    Writer writer(path_, false, segments);
    const auto bytes = pattern(kChunkBytes, 1);
    writer.write_memory(bytes, segments[0].file_offset);
    const std::uint64_t zeros = digest64(std::vector<std::byte>(kChunkBytes));
    std::vector<Extent> extents;
    for (std::uint64_t i = 0; i < kChunks; ++i)
      extents.push_back({Addr{0x10000000} + i * kChunkBytes,
                         segments[0].file_offset + i * kChunkBytes, kChunkBytes,
                         i == 0 ? digest64(bytes) : zeros});
    writer.finish({}, Json{{"extents", Json::array({encode(pack_extents(extents))})}});
    writer.publish();
  }

  TempDir dir_;
  std::string path_ = dir_ / "a.ckpt";
};

TEST_F(LargeImage, CheckingCanBeInterrupted) {
  int calls = 0;
  expect_error(
      [&] {
        Reader::open(path_).verify_memory([&](std::uint64_t done, std::uint64_t total) {
          EXPECT_LE(done, total);
          ++calls;
          return false;
        });
      },
      ErrorKind::interrupted, "interrupted");
  EXPECT_EQ(calls, 1);
}

TEST_F(LargeImage, AProgressReportThatThrowsEndsTheThreadsFirst) {
  EXPECT_THROW(Reader::open(path_).verify_memory([](std::uint64_t, std::uint64_t) -> bool {
    throw std::runtime_error("from Python");
  }),
               std::runtime_error);
}

}  // namespace
}  // namespace ckpt::image
