#include "ids/result_sites.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "arch/instructions.hpp"
#include "ids/boundary.hpp"
#include "support.hpp"

namespace ckpt::ids {
namespace {

using test::bytes_of;

using namespace std::string_literals;

const auto kWait4Call = "\xb8\x3d\x00\x00\x00\x0f\x05"s;  // mov $61,%eax; syscall
const auto kCompare = "\x48\x3d\x00\xf0\xff\xff"s;        // cmp $-4096,%rax
const auto kAbove = "\x77\x01"s;                          // ja, over the next
const auto kReturn = "\xc3"s;

TEST(ResultSites, AreBehindTheCall) {
  const std::string function =
      kWait4Call + kCompare + kReturn + kWait4Call + kCompare + kAbove + kReturn + kReturn;
  const auto sites = find_result_sites(bytes_of(function), 61);
  ASSERT_TRUE(sites.has_value());
  EXPECT_EQ(*sites, (std::vector<std::size_t>{7, 21}));
  EXPECT_EQ(find_result_sites(bytes_of(function), -1), sites);
  EXPECT_EQ(find_result_sites(bytes_of(function), 62), std::vector<std::size_t>{});
}

TEST(ResultSites, AreNotWhereABranchLeads) {
  // To the begin of what is replaced it may lead, and behind it, not into it.
  for (int to = -3; to <= 8; ++to) {
    const std::string function = kWait4Call + "\x85\xc0\x90\x90\x90\x90\x90"s + "\x77"s +
                                 static_cast<char>(to - 9) + kReturn;
    const bool inside = to > 0 && to < static_cast<int>(arch::kPatchBytes);
    EXPECT_EQ(find_result_sites(bytes_of(function), 61).has_value(), !inside) << to;
  }
}

TEST(ResultSites, AreNotInWhatIsNotUnderstood) {
  EXPECT_FALSE(find_result_sites(bytes_of(kWait4Call + "\xc5\xf8\x77"s + kCompare), 61));
  EXPECT_FALSE(find_result_sites(bytes_of(kWait4Call + kReturn), 61)) << "too short";
}

TEST(ResultSites, CanBeMoved) {
  std::size_t moved_bytes = 0;
  const auto moved = arch::move_instructions(bytes_of(kCompare + kAbove + kReturn), Addr{0x10000},
                                             Addr{0x20000}, moved_bytes);
  ASSERT_TRUE(moved.has_value());
  EXPECT_EQ(moved_bytes, kCompare.size());
  ASSERT_EQ(moved->size(), kCompare.size() + arch::kPatchBytes);
  const auto back = arch::decode(std::span(*moved).subspan(kCompare.size()));
  ASSERT_TRUE(back && back->flow == arch::Flow::jump);
  EXPECT_EQ(0x20000 + static_cast<std::int64_t>(moved->size()) + back->distance, 0x10006);
}

}  // namespace
}  // namespace ckpt::ids
