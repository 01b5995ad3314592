// The store of contents: once per content, and never a wrong one.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/io.hpp"
#include "store/objects.hpp"
#include "support.hpp"

namespace ckpt::store {
namespace {

using test::TempDir;
namespace fs = std::filesystem;

void write_file(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

std::size_t files_below(const std::string& directory) {
  std::size_t count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    count += entry.is_regular_file() ? 1 : 0;
  return count;
}

unsigned mode_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777U;
}

class Store : public ::testing::Test {
 protected:
  ObjectRef keep(const std::string& path, bool executable = false) {
    const UniqueFd fd = open_file(path, O_RDONLY);
    return objects_.keep(fd.get(), path, executable);
  }

  TempDir dir_;
  std::string place_ = dir_ / "deep/down/store";
  Objects objects_ = Objects::open_or_create(place_);
};

TEST_F(Store, AContentIsForItsOwnerOnly) {
  write_file(dir_ / "a", "content");
  EXPECT_EQ(mode_of(*objects_.find(keep(dir_ / "a"))), 0600U);
  write_file(dir_ / "b", "program");
  EXPECT_EQ(mode_of(*objects_.find(keep(dir_ / "b", true))), 0700U);
}

TEST_F(Store, KeepsEachContentOnce) {
  write_file(dir_ / "a", "content");
  fs::create_directory(dir_ / "other");
  write_file(dir_ / "other/a", "content");
  const ObjectRef first = keep(dir_ / "a");
  const ObjectRef second = keep(dir_ / "other/a");
  EXPECT_EQ(first.hash, second.hash);
  EXPECT_EQ(first.name, "a");
  EXPECT_EQ(first.size_bytes, 7U);
  EXPECT_EQ(files_below(place_ + "/objects"), 1U);
  EXPECT_EQ(read_file(*objects_.find(first)), "content");
  EXPECT_TRUE(objects_.intact(first));
}

TEST_F(Store, KeepsWhatAFileWasWhenItChanges) {
  write_file(dir_ / "a", "one");
  const ObjectRef one = keep(dir_ / "a");
  write_file(dir_ / "a", "two, and longer");
  const ObjectRef two = keep(dir_ / "a");
  EXPECT_NE(one.hash, two.hash);
  EXPECT_EQ(read_file(*objects_.find(one)), "one");
  EXPECT_EQ(read_file(*objects_.find(two)), "two, and longer");
}

TEST_F(Store, AnEmptyFileIsAContentToo) {
  write_file(dir_ / "a", "");
  EXPECT_EQ(read_file(*objects_.find(keep(dir_ / "a"))), "");
}

TEST_F(Store, ALargeFileIsKeptWhole) {
  std::string content(5'000'000, '\0');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7 + i / 255);
  write_file(dir_ / "a", content);
  EXPECT_EQ(read_file(*objects_.find(keep(dir_ / "a"))), content);
}

TEST_F(Store, AnObjectLostBehindTheIndexIsKeptAgain) {
  write_file(dir_ / "a", "content");
  const ObjectRef object = keep(dir_ / "a", true);
  fs::remove(*objects_.find(object));
  EXPECT_EQ(objects_.find(object), std::nullopt);
  EXPECT_EQ(keep(dir_ / "a", true).hash, object.hash);
  EXPECT_TRUE(objects_.intact(object));
}

TEST_F(Store, ADamagedIndexIsNotBelieved) {
  write_file(dir_ / "a", "content");
  const ObjectRef object = keep(dir_ / "a", true);
  for (const char* text : {"", "garbage", "../../../../../../../../etc/pas"}) {
    for (const auto& entry : fs::directory_iterator(place_ + "/index"))
      write_file(entry.path(), text);
    EXPECT_EQ(keep(dir_ / "a", true).hash, object.hash);
  }
}

TEST_F(Store, DataWrittenThroughAMappingIsNotMissed) {
  // Here the file's times stay what they were: the page was dirty already.
  const UniqueFd fd = open_file(dir_ / "a", O_RDWR | O_CREAT, 0600);
  ASSERT_EQ(::ftruncate(fd.get(), 4096), 0);
  auto* memory =
      static_cast<char*>(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
  ASSERT_NE(memory, MAP_FAILED);
  for (const char mark : {'1', '2', '3'}) {
    memory[100] = mark;
    EXPECT_EQ(read_file(*objects_.find(keep(dir_ / "a"))).at(100), mark);
  }
  ::munmap(memory, 4096);
}

TEST_F(Store, CodeThatHasNotChangedIsNotReadAgain) {
  write_file(dir_ / "a", "program");
  const ObjectRef object = keep(dir_ / "a", true);
  // Through this descriptor nothing can be read.
  const UniqueFd unreadable = open_file(dir_ / "a", O_PATH);
  EXPECT_EQ(objects_.keep(unreadable.get(), dir_ / "a", true).hash, object.hash);
}

TEST_F(Store, DamageToAnObjectIsSeen) {
  write_file(dir_ / "a", "content");
  const ObjectRef object = keep(dir_ / "a");
  write_file(*objects_.find(object), "cOntent");
  EXPECT_TRUE(objects_.find(object).has_value());
  EXPECT_FALSE(objects_.intact(object));
  write_file(*objects_.find(object), "longer than before");
  EXPECT_EQ(objects_.find(object), std::nullopt);
  EXPECT_FALSE(objects_.intact(object));
}

TEST_F(Store, BytesInMemoryAreKeptLikeAFile) {
  const ObjectRef object = objects_.keep_bytes("content", "a");
  write_file(dir_ / "a", "content");
  EXPECT_EQ(keep(dir_ / "a").hash, object.hash);
  EXPECT_EQ(files_below(place_ + "/objects"), 1U);
}

TEST_F(Store, ReferencesFromARecordCannotLeaveTheStore) {
  write_file(dir_ / "a", "content");
  const ObjectRef good = keep(dir_ / "a");
  for (const char* hash :
       {"", "..", "../../../../../../../etc/passwd00", "0123", "0123456789ABCDEF0123456789ABCDEF",
        "0123456789abcdef0123456789abcdeg", "0123456789abcdef0123456789abcdef0"}) {
    ObjectRef bad = good;
    bad.hash = hash;
    EXPECT_EQ(objects_.find(bad), std::nullopt) << hash;
  }
  for (const char* name : {"../a", "/etc/passwd", "x/../a", "..", "."}) {
    ObjectRef bad = good;
    bad.name = name;
    EXPECT_EQ(objects_.find(bad), std::nullopt) << name;
  }
}

TEST(ObjectName, IsALastComponentAndSafe) {
  struct Row {
    std::string path, name;
  };
  for (const Row& row :
       {Row{"/usr/lib/libc.so.6", "libc.so.6"}, Row{"libc.so.6", "libc.so.6"}, Row{"", "content"},
        Row{"/", "content"}, Row{"/a/..", "content"}, Row{"/a/.", "content"}, Row{"/a/...", "..."},
        Row{"/a/with blank", "with blank"}, Row{"/a/new\nline", "new_line"},
        Row{"/a/" + std::string(255, 'x'), std::string(200, 'x')}}) {
    EXPECT_EQ(object_name(row.path), row.name) << row.path;
  }
}

}  // namespace
}  // namespace ckpt::store
