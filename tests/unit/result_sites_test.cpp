#include "threads/result_sites.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "threads/boundary.hpp"
#include "threads/instructions.hpp"

namespace ckpt::threads {
namespace {

using namespace std::string_literals;

std::span<const std::byte> bytes_of(const std::string& code) {
  return std::as_bytes(std::span(code));
}

const auto kWait4Call = "\xb8\x3d\x00\x00\x00\x0f\x05"s;  // mov $61,%eax; syscall
const auto kCompare = "\x48\x3d\x00\xf0\xff\xff"s;        // cmp $-4096,%rax
const auto kAbove = "\x77\x01"s;                          // ja, over the next
const auto kReturn = "\xc3"s;

TEST(Instructions, LengthsAndBranches) {
  struct Row {
    std::string code;
    std::optional<std::int32_t> branch;
  };
  for (const Row& row : {
           Row{"\xc3"s, {}}, Row{"\x0f\x05"s, {}},                // syscall
           Row{"\xf3\x0f\x1e\xfa"s, {}},                          // endbr64
           Row{"\x66\xb8\x01\x02"s, {}},                          // mov $513,%ax
           Row{"\x48\xb8\x01\x02\x03\x04\x05\x06\x07\x08"s, {}},  // movabs
           Row{"\xf7\xc1\x01\x00\x00\x00"s, {}},                  // test $1,%ecx
           Row{"\xf7\xd8"s, {}},                                  // neg %eax
           Row{"\x64\x48\x8b\x04\x25\x28\x00\x00\x00"s, {}},      // mov %fs:40,%rax
           Row{"\x2e\x66\x0f\x1f\x84\x00\x00\x00\x00\x00"s, {}},  // nopw
           Row{"\x77\x01"s, 1},                                   // ja
           Row{"\xeb\xfe"s, -2},                                  // jmp
           Row{"\xe8\x04\x03\x02\x01"s, 0x01020304},              // call
           Row{"\x0f\x87\xff\xff\xff\xff"s, -1},                  // ja
       }) {
    const std::string more = row.code + std::string(20, '\x90');
    const auto one = decode(bytes_of(more));
    ASSERT_TRUE(one.has_value()) << testing::PrintToString(row.code);
    EXPECT_EQ(one->length, row.code.size()) << testing::PrintToString(row.code);
    EXPECT_EQ(one->branch, row.branch) << testing::PrintToString(row.code);
    for (std::size_t cut = 0; cut < row.code.size(); ++cut) {
      const auto less = decode(bytes_of(row.code).first(cut));
      EXPECT_TRUE(!less || less->length <= cut) << testing::PrintToString(row.code) << cut;
    }
  }
}

TEST(Instructions, WhatIsNotKnown) {
  for (const std::string& code : {""s, "\x06"s, "\x48"s, "\xc5\xf8\x77"s,
                                  "\x62\xe1\xfd\x28\x6f\x06"s, std::string(40, '\x66') + "\x90"})
    EXPECT_FALSE(decode(bytes_of(code))) << testing::PrintToString(code);
}

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
    const bool inside = to > 0 && to < static_cast<int>(kPatchBytes);
    EXPECT_EQ(find_result_sites(bytes_of(function), 61).has_value(), !inside) << to;
  }
}

TEST(ResultSites, AreNotInWhatIsNotUnderstood) {
  EXPECT_FALSE(find_result_sites(bytes_of(kWait4Call + "\xc5\xf8\x77"s + kCompare), 61));
  EXPECT_FALSE(find_result_sites(bytes_of(kWait4Call + kReturn), 61)) << "too short";
}

TEST(ResultSites, CanBeMoved) {
  std::size_t moved_bytes = 0;
  const auto moved = move_instructions(bytes_of(kCompare + kAbove + kReturn), Addr{0x10000},
                                       Addr{0x20000}, moved_bytes);
  ASSERT_TRUE(moved.has_value());
  EXPECT_EQ(moved_bytes, kCompare.size());
  ASSERT_EQ(moved->size(), kCompare.size() + kPatchBytes);
  const auto back = decode(std::span(*moved).subspan(kCompare.size()));
  ASSERT_TRUE(back && back->branch);
  EXPECT_EQ(0x20000 + static_cast<std::int64_t>(moved->size()) + *back->branch, 0x10006);
}

}  // namespace
}  // namespace ckpt::threads
