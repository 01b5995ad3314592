// Which values of a function may be its thread's id.
#include <sys/syscall.h>
#include <unistd.h>

#include <initializer_list>
#include <vector>

#include <gtest/gtest.h>

#include "ids/id_use.hpp"

namespace ckpt::ids {
namespace {

// DWARF's numbers.
constexpr std::size_t kRax = 0;
constexpr std::size_t kRdx = 1;
constexpr std::size_t kRbx = 3;
constexpr std::size_t kRsi = 4;
constexpr std::size_t kRdi = 5;
constexpr std::size_t kR10 = 10;

bool looks(std::initializer_list<unsigned> bytes) {
  std::vector<std::byte> code;
  for (const unsigned byte : bytes) code.push_back(static_cast<std::byte>(byte));
  return looks_at_id(code, 0x2d0);
}

RegisterSet only(std::initializer_list<std::size_t> registers) {
  RegisterSet set{};
  for (const std::size_t one : registers) set.at(one) = true;
  return set;
}

TEST(LooksAtId, FindsTheField) {
  // mov %fs:0x2d0,%edx; cmp %eax,%fs:0x2d0; mov 0x2d0(%rdi),%ebx
  EXPECT_TRUE(looks({0x64, 0x8b, 0x14, 0x25, 0xd0, 2, 0, 0}));
  EXPECT_TRUE(looks({0x90, 0x64, 0x39, 0x04, 0x25, 0xd0, 2, 0, 0, 0x90}));
  EXPECT_TRUE(looks({0x8b, 0x9f, 0xd0, 2, 0, 0}));
  // mov %fs:0x308,%eax; xor $0x189,%esi
  EXPECT_FALSE(looks({0x64, 0x8b, 0x04, 0x25, 8, 3, 0, 0}));
  EXPECT_FALSE(looks({0x81, 0xf6, 0x89, 1, 0, 0}));
  EXPECT_FALSE(looks({0xd0, 2, 0}));
  EXPECT_FALSE(looks({}));
}

RegisterSet plain_in_call(std::uint64_t number) {
  tracee::Registers registers{};
  registers.orig_rax = number;
  return plain_arguments(registers, tracee::Memory(::getpid()));
}

TEST(PlainArguments, AreThoseThatAreNoIds) {
  const auto futex = plain_in_call(SYS_futex);
  EXPECT_TRUE(futex[kRax] && futex[kRdi] && futex[kRsi] && futex[kRdx] && futex[kR10]);
  EXPECT_FALSE(futex[kRbx]);
  const auto signal = plain_in_call(SYS_tgkill);
  EXPECT_TRUE(signal[kRax] && signal[kRdx]);
  EXPECT_FALSE(signal[kRdi] || signal[kRsi] || signal[kR10]);
  // What it gives is one.
  EXPECT_EQ(plain_in_call(SYS_gettid), only({}));
  EXPECT_EQ(plain_in_call(~0ULL), only({}));
}

TEST(PlainArguments, AreThoseOfACallThatIsToBeMade) {
  constexpr std::array<unsigned char, 2> kCall = {0x0f, 0x05};
  tracee::Registers registers{};
  registers.orig_rax = ~0ULL;
  registers.rax = SYS_gettid;
  registers.rip = reinterpret_cast<std::uint64_t>(kCall.data());
  EXPECT_EQ(plain_arguments(registers, tracee::Memory(::getpid())), only({kRax}));
}

}  // namespace
}  // namespace ckpt::ids
