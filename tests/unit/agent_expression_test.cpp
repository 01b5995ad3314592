#include "debugserver/agent_expression.hpp"

#include <gtest/gtest.h>

#include <initializer_list>

namespace ckpt::debugserver {
namespace {

const ExpressionSource kSource{[](Addr at, std::span<std::byte> into) {
                                 for (auto& byte : into)
                                   byte = static_cast<std::byte>(at.value & 0xffU);
                                 return at.value != 0;
                               },
                               [](std::uint64_t number) {
                                 return number < 17 ? std::optional<std::uint64_t>(1000 + number)
                                                    : std::nullopt;
                               }};

std::optional<std::uint64_t> value_of(std::initializer_list<unsigned> code) {
  std::vector<std::byte> bytes;
  for (const unsigned byte : code) bytes.push_back(static_cast<std::byte>(byte));
  return evaluate(bytes, kSource);
}

// const8 A, const8 B, the operation, end
std::optional<std::uint64_t> combined(unsigned first, unsigned second, unsigned op) {
  return value_of({0x22, first, 0x22, second, op, 0x27});
}

constexpr std::uint64_t kMinusOne = ~0ULL;

TEST(AgentExpression, Arithmetic) {
  EXPECT_EQ(combined(7, 3, 0x02), 10);
  EXPECT_EQ(combined(3, 7, 0x03), kMinusOne - 3);
  EXPECT_EQ(combined(7, 3, 0x04), 21);
  EXPECT_EQ(combined(7, 3, 0x05), 2);
  EXPECT_EQ(combined(7, 3, 0x06), 2);
  EXPECT_EQ(combined(7, 3, 0x07), 1);
  EXPECT_EQ(combined(7, 3, 0x08), 1);
  EXPECT_EQ(combined(1, 65, 0x09), 0);
  EXPECT_EQ(combined(1, 4, 0x09), 16);
  EXPECT_EQ(combined(0x80, 4, 0x0b), 8);
  EXPECT_EQ(combined(6, 3, 0x0f), 2);
  EXPECT_EQ(combined(6, 3, 0x10), 7);
  EXPECT_EQ(combined(6, 3, 0x11), 5);
  EXPECT_EQ(combined(6, 6, 0x13), 1);
  EXPECT_EQ(combined(6, 7, 0x14), 1);
  EXPECT_EQ(combined(7, 6, 0x15), 0);
}

TEST(AgentExpression, SignsAndWidths) {
  EXPECT_EQ(value_of({0x22, 0xff, 0x16, 8, 0x27}), kMinusOne);
  EXPECT_EQ(value_of({0x23, 0x12, 0xff, 0x2a, 8, 0x27}), 0xff);
  EXPECT_EQ(value_of({0x24, 1, 2, 3, 4, 0x27}), 0x01020304);
  EXPECT_EQ(value_of({0x25, 1, 2, 3, 4, 5, 6, 7, 8, 0x27}), 0x0102030405060708);
  // -1 >> 1, and -1 < 1
  EXPECT_EQ(value_of({0x22, 0xff, 0x16, 8, 0x22, 1, 0x0a, 0x27}), kMinusOne);
  EXPECT_EQ(value_of({0x22, 0xff, 0x16, 8, 0x22, 1, 0x14, 0x27}), 1);
  EXPECT_EQ(value_of({0x22, 0xff, 0x16, 8, 0x22, 1, 0x15, 0x27}), 0);
  EXPECT_EQ(value_of({0x22, 0, 0x0e, 0x27}), 1);
  EXPECT_EQ(value_of({0x22, 0, 0x12, 0x27}), kMinusOne);
}

TEST(AgentExpression, MemoryRegistersAndTheStack) {
  EXPECT_EQ(value_of({0x22, 5, 0x18, 0x27}), 0x0505);
  EXPECT_EQ(value_of({0x22, 5, 0x1a, 0x27}), 0x0505050505050505);
  EXPECT_EQ(value_of({0x26, 0, 16, 0x27}), 1016);
  EXPECT_EQ(value_of({0x22, 5, 0x28, 0x02, 0x27}), 10);                   // dup, add
  EXPECT_EQ(value_of({0x22, 5, 0x22, 6, 0x29, 0x27}), 5);                 // pop
  EXPECT_EQ(value_of({0x22, 5, 0x22, 6, 0x2b, 0x03, 0x27}), 1);           // swap, sub
  EXPECT_EQ(value_of({0x22, 5, 0x22, 6, 0x32, 1, 0x27}), 5);              // pick
  EXPECT_EQ(value_of({0x22, 1, 0x22, 2, 0x22, 3, 0x33, 0x27}), 2);        // rot: 3 1 2
  EXPECT_EQ(value_of({0x22, 1, 0x20, 0, 7, 0x22, 9, 0x22, 8, 0x27}), 8);  // if_goto 7
  EXPECT_EQ(value_of({0x21, 0, 5, 0x22, 9, 0x22, 8, 0x27}), 8);           // goto 5
}

TEST(AgentExpression, WhatCannotBeEvaluated) {
  EXPECT_FALSE(value_of({}));
  EXPECT_FALSE(value_of({0x22}));
  EXPECT_FALSE(value_of({0x27}));                    // nothing on the stack
  EXPECT_FALSE(value_of({0x22, 0, 0x17, 0x27}));     // no memory there
  EXPECT_FALSE(value_of({0x26, 0, 99, 0x27}));       // no such register
  EXPECT_FALSE(value_of({0x21, 0, 0}));              // for ever
  EXPECT_FALSE(value_of({0x22, 1, 0x21, 0, 0}));     // and with a growing stack
  EXPECT_FALSE(value_of({0x21, 0xff, 0xff}));        // out of it
  EXPECT_FALSE(value_of({0x22, 1, 0x16, 0, 0x27}));  // no bits
  EXPECT_FALSE(value_of({0x01, 0x27}));              // floating point
  EXPECT_FALSE(combined(1, 0, 0x05));
  EXPECT_FALSE(combined(1, 0, 0x08));
  // The least number by -1.
  EXPECT_FALSE(value_of({0x25, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x22, 0xff, 0x16, 8, 0x05, 0x27}));
}

}  // namespace
}  // namespace ckpt::debugserver
