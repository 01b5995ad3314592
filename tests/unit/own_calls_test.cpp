#include "ids/own_calls.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ckpt::ids {
namespace {

using namespace std::string_literals;

std::vector<std::string_view> own_calls(const std::string& code) {
  return find_own_calls(std::as_bytes(std::span(code)));
}

const auto kSyscallCode = "\x0f\x05"s;
const auto kGetpid = "\xb8\x27\x00\x00\x00"s;          // mov $39,%eax
const auto kTgkill = "\x48\xc7\xc0\xea\x00\x00\x00"s;  // mov $234,%rax
const auto kRead = "\xb8\x00\x00\x00\x00"s;            // mov $0,%eax
const auto kArguments =
    "\x89\xc7\x44\x89\xe6\x31\xd2"s;  // mov %eax,%edi; mov %r12d,%esi; xor %edx,%edx

TEST(OwnCalls, AreFoundByTheirNumbers) {
  using Names = std::vector<std::string_view>;
  EXPECT_EQ(own_calls(kGetpid + kSyscallCode), Names{"getpid"});
  EXPECT_EQ(own_calls(kTgkill + kArguments + kSyscallCode), Names{"tgkill"});
  EXPECT_EQ(own_calls(kTgkill + kArguments + kSyscallCode + kGetpid + kSyscallCode + kGetpid +
                      kSyscallCode),
            (Names{"getpid", "tgkill"}));
}

TEST(OwnCalls, WhereverTheyLie) {
  for (std::size_t before = 0; before < 70; ++before)
    for (const std::size_t behind : {0, 1, 40})
      EXPECT_EQ(own_calls(std::string(before, '\x90') + kGetpid + kArguments + kSyscallCode +
                          std::string(behind, '\x0f'))
                    .size(),
                1U)
          << before << " " << behind;
}

TEST(OwnCalls, AreNotOthers) {
  EXPECT_TRUE(own_calls("").empty());
  EXPECT_TRUE(own_calls(kSyscallCode).empty());
  EXPECT_TRUE(own_calls(kGetpid).empty());
  EXPECT_TRUE(own_calls(kRead + kSyscallCode).empty());
  EXPECT_TRUE(own_calls(kGetpid + "\xc3"s + kSyscallCode).empty()) << "a return lies between";
  EXPECT_TRUE(own_calls(kGetpid + "\x81\xc7"s + kSyscallCode).empty()) << "part of a constant";
  EXPECT_TRUE(own_calls(kGetpid + std::string(60, '\x50') + kSyscallCode).empty()) << "far away";
  EXPECT_TRUE(own_calls("\x27\x00\x00\x00"s + kSyscallCode).empty());
}

}  // namespace
}  // namespace ckpt::ids
