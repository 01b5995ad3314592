// Instructions of the C library around system calls.
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "arch/instructions.hpp"
#include "support.hpp"

namespace ckpt::ids {
namespace {

using test::bytes_of;

using namespace std::string_literals;

std::size_t length_of(const std::string& text) {
  const auto one = arch::decode(bytes_of(text + "\x90\x90\x90"s));
  return one ? one->length : 0;
}

TEST(Decode, KnowsLengths) {
  const std::vector<std::pair<std::string, std::size_t>> table = {
      {"\x90"s, 1},                             // nop
      {"\x0f\x05"s, 2},                         // syscall
      {"\xc3"s, 1},                             // ret
      {"\xf3\x0f\x1e\xfa"s, 4},                 // endbr64
      {"\xb8\x27\0\0\0"s, 5},                   // mov $39,%eax
      {"\x49\xb8\1\2\3\4\5\6\7\x8"s, 10},       // movabs
      {"\x48\x3d\1\xf0\xff\xff"s, 6},           // cmp $-4095,%rax
      {"\x64\x48\x8b\4\x25\x28\0\0\0"s, 9},     // mov %fs:0x28,%rax
      {"\x48\x8b\x0d\xb9\xd6\x0f\0"s, 7},       // mov disp(%rip),%rcx
      {"\x80\x3d\x11\x7a\x10\0\0"s, 7},         // cmpb $0,disp(%rip)
      {"\x48\xc7\x44\x24\4\0\0\0\0"s, 9},       // movq $0,4(%rsp)
      {"\xf3\x48\xab"s, 3},                     // rep stos
      {"\xf7\xd8"s, 2},                         // neg %eax
      {"\xf7\xc0\1\0\0\0"s, 6},                 // test $1,%eax
      {"\x66\xc7\x45\x00\1\0"s, 6},             // movw $1,0(%rbp)
      {"\x66\x2e\x0f\x1f\x84\0\0\0\0\0"s, 10},  // cs nopw
      {"\x0f\x85\x93\0\0\0"s, 6},               // jne
      {"\xf0\x48\x0f\xb1\x3a"s, 5},             // lock cmpxchg
      {"\x0f\x45\xc8"s, 3},                     // cmovne
      {"\xff\xd0"s, 2},                         // call *%rax
      {"\xc5\xf8\x77"s, 0},                     // vzeroupper: not known
      {"\x62\xf1\x7c\x48"s, 0},                 // EVEX
      {"\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66"s, 0},
  };
  for (const auto& [text, length] : table)
    EXPECT_EQ(length_of(text), length) << testing::PrintToString(text);
}

TEST(Decode, NeedsAllOfIt) {
  const std::string mov = "\x48\x8b\x84\x24\x88\0\0\0"s;
  for (std::size_t i = 0; i < mov.size(); ++i)
    EXPECT_FALSE(arch::decode(bytes_of(mov.substr(0, i)))) << i;
  EXPECT_EQ(arch::decode(bytes_of(mov))->length, mov.size());
}

TEST(Decode, SurvivesAnyBytes) {
  std::uint64_t seed = 88172645463325252ULL;
  std::string text(16, 0);
  for (int i = 0; i < 100'000; ++i) {
    for (char& c : text) {
      seed ^= seed << 13U;
      seed ^= seed >> 7U;
      seed ^= seed << 17U;
      c = static_cast<char>(seed);
    }
    const auto one = arch::decode(bytes_of(text));
    if (one) {
      EXPECT_GE(one->length, 1U);
      EXPECT_LE(one->length, 15U);
    }
    static_cast<void>(arch::move_run(bytes_of(text), Addr{0x1000}, Addr{0x2000}, 5));
    static_cast<void>(arch::is_padding(bytes_of(text)));
    static_cast<void>(arch::has_target_within(bytes_of(text), Addr{0}, Addr{4}, Addr{9}));
    static_cast<void>(arch::reach(bytes_of(text), Addr{0}, Addr{0}));
  }
}

TEST(Decode, TellsWhereItGoesOn) {
  EXPECT_EQ(arch::decode(bytes_of("\x0f\x05"s))->flow, arch::Flow::system_call);
  EXPECT_EQ(arch::decode(bytes_of("\x73\xfe"s))->flow, arch::Flow::branch);
  EXPECT_EQ(arch::decode(bytes_of("\x73\xfe"s))->distance, -2);
  EXPECT_EQ(arch::decode(bytes_of("\xe9\x75\2\0\0"s))->distance, 0x275);
  EXPECT_EQ(arch::decode(bytes_of("\xe8\x75\2\0\0"s))->flow, arch::Flow::call);
  EXPECT_EQ(arch::decode(bytes_of("\xff\xe0"s))->flow, arch::Flow::indirect_jump);
  EXPECT_EQ(arch::decode(bytes_of("\xf4"s))->flow, arch::Flow::end);
  EXPECT_TRUE(arch::decode(bytes_of("\xc3"s))->is_return);
}

// je 1f; mov $1,%eax; syscall; ret; 1: mov $2,%eax; syscall; ret
const std::string kTwoCalls = "\x74\x08\xb8\1\0\0\0\x0f\x05\xc3\xb8\2\0\0\0\x0f\x05\xc3"s;

TEST(Reach, FollowsBranches) {
  const Addr begin{0x5000};
  const auto from = [&](std::uint64_t offset) {
    return arch::reach(bytes_of(kTwoCalls), begin, begin + offset)->calls;
  };
  EXPECT_EQ(from(0), (std::vector<Addr>{begin + 7, begin + 15}));
  EXPECT_EQ(from(2), (std::vector<Addr>{begin + 7}));
  EXPECT_EQ(from(7), (std::vector<Addr>{begin + 7}));
  EXPECT_EQ(from(9), std::vector<Addr>());
  EXPECT_EQ(from(10), (std::vector<Addr>{begin + 15}));
  // call 1f; ret
  EXPECT_EQ(arch::reach(bytes_of("\xe8\x10\0\0\0\xc3"s), begin, begin)->callees,
            (std::vector<Addr>{begin + 0x15}));
  EXPECT_FALSE(arch::reach(bytes_of("\xff\xe0"s), begin, begin));
  EXPECT_FALSE(arch::reach(bytes_of("\xc5\xf8\x77"s), begin, begin));
}

TEST(HasTargetWithin, LooksAtBranches) {
  const Addr begin{0x5000};
  const auto code = bytes_of(kTwoCalls);
  EXPECT_TRUE(arch::has_target_within(code, begin, begin + 7, begin + 12));  // 1: is in the middle
  EXPECT_FALSE(arch::has_target_within(code, begin, begin + 10, begin + 15));
  EXPECT_FALSE(arch::has_target_within(code, begin, begin + 2, begin + 10));
  // Behind what is not known, all bytes are suspected.
  EXPECT_TRUE(
      arch::has_target_within(bytes_of("\xc5\xf8\x77\x90\xeb\xfd"s), begin, begin + 2, begin + 5));
  EXPECT_FALSE(
      arch::has_target_within(bytes_of("\xc5\xf8\x77\x90\xeb\xfd"s), begin, begin + 4, begin + 9));
}

TEST(IsPadding, KnowsWhatCompilersFillWith) {
  EXPECT_TRUE(arch::is_padding(bytes_of(""s)));
  EXPECT_TRUE(arch::is_padding(bytes_of("\x90\xcc"s)));
  EXPECT_TRUE(arch::is_padding(bytes_of("\x0f\x1f\x80\0\0\0\0"s)));
  EXPECT_TRUE(arch::is_padding(bytes_of("\x66\x2e\x0f\x1f"s)));  // cut off
  EXPECT_FALSE(arch::is_padding(bytes_of("\x90\xb8"s)));
  EXPECT_FALSE(arch::is_padding(bytes_of("\x0f\x05"s)));
}

TEST(MoveRun, KeepsWhatItMeans) {
  const Addr from{0x10000};
  const Addr to{0x20000};
  // cmp $-4095,%rax: as it is, and a jump back
  const auto plain = arch::move_run(bytes_of("\x48\x3d\1\xf0\xff\xff\x73\1"s), from, to, 3);
  ASSERT_TRUE(plain.has_value());
  EXPECT_EQ(plain->original_bytes, 6U);
  ASSERT_EQ(plain->bytes.size(), 11U);
  EXPECT_EQ(plain->bytes[6], std::byte{0xe9});
  std::int32_t distance = 0;
  std::memcpy(&distance, plain->bytes.data() + 7, 4);
  EXPECT_EQ((to + 11 + static_cast<std::uint64_t>(distance)), from + 6);
  // mov 16(%rip),%rcx: from another place
  const auto relative = arch::move_run(bytes_of("\x48\x8b\x0d\x10\0\0\0"s), from, to, 5);
  ASSERT_TRUE(relative.has_value());
  std::memcpy(&distance, relative->bytes.data() + 3, 4);
  EXPECT_EQ((to + 7 + static_cast<std::uint64_t>(distance)), from + 7 + 16);
  // test %edi,%edi; js; neg %edi: a longer jump
  const auto branch = arch::move_run(bytes_of("\x78\x0c\xf7\xdf\xe9\0\0\0\0"s), from, to, 3);
  ASSERT_TRUE(branch.has_value());
  ASSERT_EQ(branch->places.size(), 2U);
  EXPECT_EQ(branch->places[1].original, 2U);
  EXPECT_EQ(branch->places[1].moved, 6U);
  std::memcpy(&distance, branch->bytes.data() + 2, 4);
  EXPECT_EQ((to + 6 + static_cast<std::uint64_t>(distance)), from + 2 + 12);
  // ret, and nothing behind it
  const auto last = arch::move_run(bytes_of("\xc3\x0f\x1f\x40\0\x90"s), from, to, 3);
  ASSERT_TRUE(last.has_value());
  EXPECT_EQ(last->bytes.size(), 1U);
}

TEST(MoveRun, LeavesWhatCannotBeMoved) {
  const Addr from{0x10000};
  const Addr to{0x20000};
  EXPECT_FALSE(arch::move_run(bytes_of("\xe8\0\0\0\0"s), from, to, 3));      // a call
  EXPECT_FALSE(arch::move_run(bytes_of("\xff\xd0\x90"s), from, to, 3));      // likewise
  EXPECT_FALSE(arch::move_run(bytes_of("\xc3\xb8\1\0\0\0"s), from, to, 3));  // code behind a return
  EXPECT_FALSE(arch::move_run(bytes_of("\x90\x73\xfd\x90"s), from, to, 3));  // a loop within it
  EXPECT_FALSE(arch::move_run(bytes_of("\x90\x90"s), from, to, 3));          // cut off
  EXPECT_FALSE(arch::move_run(bytes_of("\x48\x8b\x0d\x10\0\0\0"s), from, Addr{0x700000000000}, 5));
}

TEST(Decode, FollowsTheLibrarysFunctions) {
  // As far as this library is concerned: whole functions are known, and where they call the kernel.
  const auto* code = reinterpret_cast<const std::byte*>(::dlsym(RTLD_DEFAULT, "getpid"));
  ASSERT_NE(code, nullptr);
  const Addr begin{reinterpret_cast<std::uint64_t>(code)};
  const auto calls = arch::reach({code, 32}, begin, begin);
  ASSERT_TRUE(calls.has_value());
  EXPECT_EQ(calls->calls.size(), 1U);
}

}  // namespace
}  // namespace ckpt::ids
