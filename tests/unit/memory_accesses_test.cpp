#include "arch/memory_accesses.hpp"

#include <gtest/gtest.h>

#include <initializer_list>

namespace ckpt::arch {
namespace {

struct Expected {
  std::uint64_t at;
  std::uint64_t size_bytes;
  bool reads;
  bool writes;
};

void expect_accesses(std::initializer_list<unsigned> code, std::vector<Expected> expected) {
  Registers registers{};
  registers.rip = 0x1000;
  registers.rsp = 0x7000;
  registers.rbx = 0x100;
  registers.rcx = 3;
  registers.rsi = 0x200;
  registers.rdi = 0x300;
  registers.fs_base = 0x9000;
  std::vector<std::byte> bytes;
  for (const unsigned byte : code) bytes.push_back(static_cast<std::byte>(byte));
  const auto found = memory_accesses(bytes, registers);
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].at.value, expected[i].at);
    EXPECT_EQ(found[i].size_bytes, expected[i].size_bytes);
    EXPECT_EQ(found[i].reads, expected[i].reads);
    EXPECT_EQ(found[i].writes, expected[i].writes);
  }
}

TEST(MemoryAccesses, StoresAndLoads) {
  expect_accesses({0x48, 0x89, 0x43, 0x08}, {{0x108, 8, false, true}});  // mov %rax,8(%rbx)
  expect_accesses({0x8b, 0x04, 0x8b}, {{0x10c, 4, true, false}});        // mov (%rbx,%rcx,4),%eax
  expect_accesses({0x01, 0x03}, {{0x100, 4, true, true}});               // add %eax,(%rbx)
  expect_accesses({0x8b, 0x15, 0x10, 0, 0, 0}, {{0x1016, 4, true, false}});  // mov 16(%rip),%edx
  expect_accesses({0x64, 0x8b, 0x04, 0x25, 0x10, 0, 0, 0}, {{0x9010, 4, true, false}});  // %fs:16
}

TEST(MemoryAccesses, TheStackAndStrings) {
  expect_accesses({0x53}, {{0x6ff8, 8, false, true}});                          // push %rbx
  expect_accesses({0x5b}, {{0x7000, 8, true, false}});                          // pop %rbx
  expect_accesses({0xc3}, {{0x7000, 8, true, false}});                          // ret
  expect_accesses({0xe8, 0, 0, 0, 0}, {{0x6ff8, 8, false, true}});              // call
  expect_accesses({0xf3, 0xaa}, {{0x300, 1, false, true}});                     // rep stosb
  expect_accesses({0xa4}, {{0x300, 1, false, true}, {0x200, 1, true, false}});  // movsb
}

TEST(MemoryAccesses, NoneOfThem) {
  expect_accesses({0x48, 0x8d, 0x43, 0x08}, {});  // lea
  expect_accesses({0x90}, {});
  expect_accesses({0x06}, {});  // no instruction
  expect_accesses({}, {});
}

}  // namespace
}  // namespace ckpt::arch
