// The store's directory, its links, and what its snapshots are called.
#include <fcntl.h>
#include <stdlib.h>  // NOLINT(modernize-deprecated-headers): setenv is POSIX
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "store/directory.hpp"
#include "store/links.hpp"
#include "store/listing.hpp"
#include "store/names.hpp"
#include "support.hpp"

namespace ckpt::store {
namespace {

using test::expect_error;
using test::TempDir;
namespace fs = std::filesystem;

class StoreDirectory : public ::testing::Test {
 protected:
  StoreDirectory() { create_directory(root_); }

  /// A file in which nothing is but the name that it says.
  std::string put(const std::string& path, const std::string& name) {
    std::ofstream(path) << name;
    says_[path] = name;
    return path;
  }
  std::string put_inside(const std::string& name) {
    return put(Layout{root_}.snapshot(name), name);
  }
  std::string put_outside(const std::string& file, const std::string& name) {
    const std::string link = add_link(root_, put(dir_ / file, name), LinkKind::listed);
    // One after the other: the file system's clock is a coarse one.
    const timespec made{++links_made_, 0};
    const timespec times[] = {made, made};  // NOLINT(modernize-avoid-c-arrays)
    if (!link.empty()) ::utimensat(AT_FDCWD, link.c_str(), times, AT_SYMLINK_NOFOLLOW);
    return dir_ / file;
  }
  [[nodiscard]] SaidName said() const {
    return [this](const std::string& path) { return says_.at(path); };
  }
  /// Names and the last components of paths.
  [[nodiscard]] std::vector<std::string> listed() const {
    std::vector<std::string> found;
    for (const Listed& each : list(root_, said())) {
      found.push_back(each.name + " " + fs::path(each.path).filename().string());
      const auto again = find(root_, each.name, said());
      EXPECT_TRUE(again && again->path == each.path) << each.name;
    }
    return found;
  }

  TempDir dir_;
  std::string root_ = dir_ / "deep/down/store";
  std::map<std::string, std::string> says_;
  time_t links_made_ = 0;
};

using Lines = std::vector<std::string>;

TEST_F(StoreDirectory, IsForItsOwnerOnly) {
  for (const char* part : {"", "snapshots", "objects", "index", "external", "debug", "scratch"}) {
    struct stat status {};
    ASSERT_EQ(::stat((root_ + "/" + part).c_str(), &status), 0) << part;
    EXPECT_EQ(status.st_mode & 07777U, 0700U) << part;
  }
  EXPECT_NO_THROW(create_directory(root_));
  EXPECT_NO_THROW(create_directory(root_ + "/"));
}

TEST_F(StoreDirectory, OneThatOthersMayWriteToIsRefused) {
  for (const char* part : {"", "/snapshots", "/objects", "/index", "/external"}) {
    const std::string path = root_ + part;
    for (const auto bit : {fs::perms::group_write, fs::perms::others_write}) {
      fs::permissions(path, fs::perms::owner_all | bit);
      expect_error([&] { create_directory(root_); }, ErrorKind::refused, "chmod go-w");
      expect_error([&] { check_directory(root_); }, ErrorKind::refused, path);
    }
    fs::permissions(path, fs::perms::owner_all);
  }
  std::ofstream(dir_ / "file") << "";
  expect_error([&] { create_directory(dir_ / "file"); }, ErrorKind::refused, "not a directory");
  EXPECT_THROW(create_directory(dir_ / "file/store"), Error);
  EXPECT_THROW(create_directory(""), Error);
  EXPECT_FALSE(check_directory(dir_ / "none"));
}

TEST_F(StoreDirectory, AnotherUsersIsRefused) {
  if (::geteuid() != 0) {
    // The root directory is somebody else's.
    EXPECT_THROW(create_directory("/"), Error);
    return;
  }
  ASSERT_EQ(::chown(root_.c_str(), 12345, 12345), 0);
  expect_error([&] { create_directory(root_); }, ErrorKind::refused, "uid 12345");
}

TEST_F(StoreDirectory, IsHeldByManyOrByOne) {
  const UniqueFd first = hold(root_);
  {
    const UniqueFd second = hold(root_);
    EXPECT_TRUE(first && second);
    EXPECT_FALSE(hold_alone(root_));
  }
  EXPECT_FALSE(hold_alone(root_));
  EXPECT_FALSE(hold(dir_ / "none"));
}

TEST_F(StoreDirectory, KnowsItsSnapshotsByWhateverPath) {
  fs::create_directory_symlink(root_, dir_ / "another");
  for (const Layout& layout : {Layout{root_}, Layout{dir_ / "another"}}) {
    EXPECT_TRUE(layout.holds(root_ + "/snapshots/new.ckpt"));
    EXPECT_TRUE(layout.holds(dir_ / "another/objects/../snapshots/new.ckpt"));
    EXPECT_FALSE(layout.holds(root_ + "/snapshots/inner/new.ckpt"));
    EXPECT_FALSE(layout.holds(root_ + "/scratch/new.ckpt"));
    EXPECT_FALSE(layout.holds("new.ckpt"));
  }
}

TEST_F(StoreDirectory, HasPlacesForObjectsOnly) {
  const std::string hash = "0123456789abcdef0123456789abcdef";
  EXPECT_EQ(make_place(root_, hash, "x"), root_ + "/objects/01/" + hash + "/x");
  EXPECT_TRUE(fs::is_directory(root_ + "/objects/01/" + hash));
  for (const char* name : {"", ".", "..", "../x"})
    expect_error([&] { make_place(root_, hash, name); }, ErrorKind::usage, "not the name");
  expect_error([&] { make_place(root_, "../" + hash.substr(3), "x"); }, ErrorKind::usage, "../");
}

TEST_F(StoreDirectory, RemembersSnapshotsOutsideOnce) {
  EXPECT_NE(add_link(root_, "/elsewhere/a.ckpt", LinkKind::listed), "");
  EXPECT_EQ(add_link(root_, "/elsewhere/a.ckpt", LinkKind::listed), "");
  EXPECT_NE(add_link(root_, "/elsewhere/b.ckpt", LinkKind::listed), "");
  // A link that somebody else has made, under another name.
  fs::create_symlink("/elsewhere/c.ckpt", root_ + "/external/c");
  EXPECT_EQ(add_link(root_, "/elsewhere/c.ckpt", LinkKind::listed), "");
  EXPECT_EQ(links(root_).size(), 3U);
  remove_links(root_, "/elsewhere/b.ckpt");
  EXPECT_EQ(links(root_).size(), 2U);
  remove_dead_links(root_);
  EXPECT_TRUE(links(root_).empty());
}

TEST_F(StoreDirectory, AClaimIsLessThanAListing) {
  EXPECT_NE(add_link(root_, "/elsewhere/a.ckpt", LinkKind::listed), "");
  EXPECT_EQ(add_link(root_, "/elsewhere/a.ckpt", LinkKind::claim), "");
  EXPECT_NE(add_link(root_, "/elsewhere/b.ckpt", LinkKind::claim), "");
  EXPECT_NE(add_link(root_, "/elsewhere/b.ckpt", LinkKind::listed), "");
  EXPECT_EQ(links(root_).size(), 3U);
}

TEST_F(StoreDirectory, OnlyWhatWasSavedWithItIsClaimed) {
  const std::string image = put(dir_ / "moved", "moved");
  claim(root_, image, dir_ / "another");
  claim(root_, put_inside("own"), root_);
  EXPECT_TRUE(links(root_).empty());
  claim(root_, image, root_ + "/.");
  ASSERT_EQ(links(root_).size(), 1U);
  EXPECT_EQ(links(root_).front().target, image);
  EXPECT_TRUE(list(root_, said()).size() == 1 && images(root_).size() == 2);
}

TEST_F(StoreDirectory, NamesInAListAreAllDifferent) {
  put_outside("first.ckpt", "same");
  put_outside("second.ckpt", "same");
  put_outside("same-3.ckpt", "same-3");
  put_outside("third.ckpt", "same");
  EXPECT_EQ(listed(), (Lines{"same first.ckpt", "same-2 second.ckpt", "same-3 same-3.ckpt",
                             "same-4 third.ckpt"}));
  // One in the store has its name before any other.
  put_inside("same");
  EXPECT_EQ(listed(), (Lines{"same same.ckpt", "same-2 first.ckpt", "same-3 second.ckpt",
                             "same-3-2 same-3.ckpt", "same-4 third.ckpt"}));
}

TEST_F(StoreDirectory, WhatIsNoNameIsNotTakenForOne) {
  for (const char* name : {"", "../../x", "/tmp/x", "-rf", "a b", "x\x1b[2J", "\xff"}) {
    put_outside("image.ckpt", name);
    EXPECT_EQ(listed(), Lines{"image image.ckpt"}) << name;
  }
  // Nor what would be too long with a number behind it.
  const std::string longest(kNameLimit, 'n');
  put_outside("one.ckpt", longest);
  put_outside("two.ckpt", longest);
  const auto found = list(root_, said());
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[1].name, longest);
  EXPECT_EQ(found[2].name.size(), 32U);
}

TEST_F(StoreDirectory, WhatIsNoSnapshotIsCalledLikeItsFile) {
  put_outside("fine.ckpt", "");
  const std::string odd = put_outside("two words.ckpt", "");
  EXPECT_EQ(said_name(odd), "");
  std::vector<std::string> names;
  for (const Listed& each : list(root_)) names.push_back(each.name);
  const auto all = links(root_);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(names, (std::vector<std::string>{"fine", fs::path(all[1].path).filename()}));
}

TEST_F(StoreDirectory, NothingIsFoundByWhatIsNoFileName) {
  put_inside("one");
  EXPECT_TRUE(find(root_, "one", said()));
  for (const std::string& name :
       {std::string(), std::string("../snapshots/one"), std::string("one.ckpt\0", 9)})
    EXPECT_FALSE(find(root_, name, said()));
  EXPECT_FALSE(find(dir_ / "no store", "one", said()));
}

TEST_F(StoreDirectory, DefaultNamesCountUp) {
  const auto next = [&](const std::string& program, const std::string& kind = "") {
    return default_name(root_, program, kind, said());
  };
  EXPECT_EQ(next("/usr/bin/server"), "server-1");
  for (const char* name : {"server-1", "server-9", "server-x", "other-40", "server-1234567890"})
    put_inside(name);
  EXPECT_EQ(next("/usr/bin/server"), "server-10");
  EXPECT_EQ(next("/usr/bin/server", "auto"), "server-auto-1");
  put_outside("elsewhere.ckpt", "server-12");
  EXPECT_EQ(next("/usr/bin/server"), "server-13");
  put_inside("server-999999999");
  put_inside("server-1000000000");
  EXPECT_EQ(next("/usr/bin/server"), "server-1000000000-2");
  EXPECT_EQ(next("/opt/my prog"), "my_prog-1");
  EXPECT_EQ(next("/opt/gr\xc3\xb6\xc3\x9f"
                 "e\xff"),
            "gr__e_-1");
  EXPECT_EQ(next("/opt/.-"), "program-1");
  EXPECT_TRUE(is_name(next("/opt/" + std::string(255, 'x'), "auto")));
}

TEST_F(StoreDirectory, AFileElsewhereGetsANameThatIsFree) {
  put_inside("taken");
  const std::string mine = put_outside("mine.ckpt", "mine");
  EXPECT_EQ(name_for_file(root_, dir_ / "x/taken.ckpt", said()), "taken-2");
  EXPECT_EQ(name_for_file(root_, dir_ / "x/mine.ckpt", said()), "mine-2");
  // Written once more, it keeps its name.
  EXPECT_EQ(name_for_file(root_, mine, said()), "mine");
  EXPECT_EQ(name_for_file(root_, dir_ / "x/my file.ckpt", said()), "my_file");
  EXPECT_EQ(name_for_file(dir_ / "none", dir_ / "x/taken.ckpt", said()), "taken");
}

TEST(StoreName, IsOneWord) {
  for (const std::string& name :
       {std::string("a"), std::string("before-crash"), std::string("x_1.2"),
        std::string("gr\xc3\xb6\xc3\x9f"
                    "e"),
        std::string("a.ckpt"), std::string(kNameLimit, 'n')})
    EXPECT_NO_THROW(check_name(name)) << name;
  struct Row {
    std::string name, complaint;
  };
  for (const Row& row :
       {Row{"", "the name is empty"}, Row{"a/b", "cannot contain \"/\""},
        Row{".hidden", "begin with \".\""}, Row{"-force", "begin with \"-\""},
        Row{"two words", "not \"two words\""}, Row{"line\nbreak", "not \"line\\nbreak\""},
        Row{"bell\a", "not \"bell\\x07\""},
        Row{"no\xc2\xa0"
            "break",
            "one word"},
        Row{"turned\xe2\x80\xae", "one word"}, Row{"\xff", "not \"\\xff\""},
        Row{std::string(201, 'n'), "at most 200 bytes, this one has 201"}})
    expect_error([&] { check_name(row.name); }, ErrorKind::usage, row.complaint);
}

TEST(StoreDefault, IsWhereTheEnvironmentSays) {
  const char* const variables[] = {"CKPT_DIR", "XDG_DATA_HOME",
                                   "HOME"};  // NOLINT(modernize-avoid-c-arrays)
  std::map<std::string, std::string> before;
  for (const char* name : variables)
    if (const char* value = ::getenv(name)) before[name] = value;
  struct Row {
    std::map<std::string, std::string> environment;
    std::string expected;
  };
  for (const Row& row : {
           Row{{{"CKPT_DIR", "/c"}, {"XDG_DATA_HOME", "/x"}, {"HOME", "/h"}}, "/c"},
           Row{{{"CKPT_DIR", ""}, {"XDG_DATA_HOME", "/x"}, {"HOME", "/h"}}, "/x/ckpt"},
           Row{{{"CKPT_DIR", "~/c"}, {"HOME", "/h"}}, "/h/c"},
           Row{{{"CKPT_DIR", "~root/c"}, {"HOME", "/h"}}, "/root/c"},
           Row{{{"CKPT_DIR", "c"}, {"HOME", "/h"}}, fs::current_path() / "c"},
           Row{{{"XDG_DATA_HOME", "relative"}, {"HOME", "/h"}}, "/h/.local/share/ckpt"},
           Row{{{"HOME", "/h"}}, "/h/.local/share/ckpt"},
       }) {
    for (const char* name : variables) ::unsetenv(name);
    for (const auto& [name, value] : row.environment) ::setenv(name.c_str(), value.c_str(), 1);
    EXPECT_EQ(default_directory(), row.expected);
  }
  for (const char* name : variables) ::unsetenv(name);
  for (const auto& [name, value] : before) ::setenv(name.c_str(), value.c_str(), 1);
}

}  // namespace
}  // namespace ckpt::store
