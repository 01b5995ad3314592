// Lines that say the same of many objects, as one.
#include "base/similar.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ckpt {
namespace {

using Lines = std::vector<std::string>;

TEST(MergeSimilar, LeavesFewAsTheyAre) {
  const Lines two = {"fd 3: pipe: gone", "fd 4: pipe: gone"};
  EXPECT_EQ(merge_similar(two), two);
  EXPECT_EQ(merge_similar(Lines{}), Lines{});
  const Lines different = {"fd 3: pipe: gone", "fd 4: socket: gone", "fd 5: device: gone"};
  EXPECT_EQ(merge_similar(different), different);
}

TEST(MergeSimilar, NamesObjectsByRanges) {
  const Lines lines = {"fd 9: pipe: gone", "fd 3: pipe: gone", "process: a note",
                       "fd 4: pipe: gone", "fd 5: pipe: gone"};
  EXPECT_EQ(merge_similar(lines),
            (Lines{"fd 3-5, 9: pipe: gone (4 like this)", "process: a note"}));
}

TEST(MergeSimilar, LeavesOutWhatDiffers) {
  Lines lines;
  for (int i = 0; i < 20; ++i)
    lines.push_back("fd " + std::to_string(23 + i) +
                    ": the connection with 10.0.0.7:" + std::to_string(40000 + 7 * i) +
                    " is reset; the " + std::to_string(5 + i) + " bytes in it");
  EXPECT_EQ(merge_similar(lines),
            (Lines{"fd 23-42: the connection with 10.0.0.7:... is reset; the 5-24 bytes in it (20 "
                   "like this)"}));
  EXPECT_EQ(
      merge_similar(Lines{"fd 1: /var/lib/base/5/112: gone", "fd 2: /var/lib/base/5/1139: gone",
                          "fd 3: /var/lib/base/5/1240_vm: gone"}),
      (Lines{"fd 1-3: /var/lib/base/5/...: gone (3 like this)"}));
}

TEST(MergeSimilar, KeepsManyNumbersShort) {
  Lines lines;
  for (int i = 0; i < 40; ++i) lines.push_back("fd " + std::to_string(2 * i) + ": gone");
  EXPECT_EQ(merge_similar(lines), (Lines{"fd 0, 2, 4, 6, 8, 10 and 34 more: gone (40 like this)"}));
}

TEST(MergeSimilar, TakesAnyBytes) {
  const Lines odd = {
      "",           " ",          "1",         "", " ", "2", "", " ", "99999999999999999999999",
      "\xff/1\xfe", "\xff/2\xfe", "\xff/3\xfe"};
  EXPECT_EQ(merge_similar(odd).back(), "\xff/... (3 like this)");
}

}  // namespace
}  // namespace ckpt
