#include <sys/ptrace.h>

#include <cerrno>
#include <chrono>
#include <csignal>

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "tracee/debug_registers.hpp"

namespace ckpt::tracee {
namespace {

using std::chrono::milliseconds;

// Writes over the first bytes of what the child is going to execute.
void patch(Tid child, const ProbeTargets& targets, long bytes, long mask) {
  errno = 0;
  const auto word = ::ptrace(PTRACE_PEEKTEXT, child, targets.code.value, nullptr);
  ASSERT_EQ(errno, 0);
  ASSERT_EQ(::ptrace(PTRACE_POKETEXT, child, targets.code.value, (word & ~mask) | bytes), 0);
}

TEST(DebugRegisters, ThatStopNothingAreSeenThrough) {
  const auto seen = try_debug_registers([](Tid, const ProbeTargets&) {});
  ASSERT_TRUE(seen);
  EXPECT_FALSE(seen->data);
  EXPECT_FALSE(seen->code);
}

TEST(DebugRegisters, ThatStopTheProgramAreSeen) {
  // What stops it in their place, on every machine: int3.
  const auto seen = try_debug_registers(
      [](Tid child, const ProbeTargets& targets) { patch(child, targets, 0xcc, 0xff); });
  ASSERT_TRUE(seen);
  EXPECT_FALSE(seen->data);
  EXPECT_TRUE(seen->code);
}

TEST(DebugRegisters, ThatCannotBeSetStopNothing) {
  const auto seen = try_debug_registers(
      [](Tid, const ProbeTargets&) { throw_errno("ptrace(POKEUSER)", EINVAL); });
  ASSERT_TRUE(seen);
  EXPECT_FALSE(seen->data);
  EXPECT_FALSE(seen->code);
}

TEST(DebugRegisters, NoAnswerIsNone) {
  // A jump to itself.
  const auto seen = try_debug_registers(
      [](Tid child, const ProbeTargets& targets) { patch(child, targets, 0xfeeb, 0xffff); },
      milliseconds(50));
  EXPECT_FALSE(seen);
  const auto killed =
      try_debug_registers([](Tid child, const ProbeTargets&) { ::kill(child, SIGKILL); });
  EXPECT_FALSE(killed);
}

TEST(DebugRegisters, OfThisMachineGiveAnAnswer) {
  const auto seen = try_debug_registers();
  ASSERT_TRUE(seen);
  RecordProperty("data", static_cast<int>(seen->data));
  RecordProperty("code", static_cast<int>(seen->code));
}

}  // namespace
}  // namespace ckpt::tracee
