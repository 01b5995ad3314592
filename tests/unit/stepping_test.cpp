// Steps of a traced thread, and requests of ptrace that fail. The thread is a child's.
#include "tracee/stepping.hpp"

#include <sys/ptrace.h>
#include <sys/reg.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "arch/arch.hpp"
#include "base/error.hpp"
#include "support.hpp"
#include "tracee/ptrace.hpp"

namespace ckpt::tracee {
namespace {

class SteppingTest : public testing::Test {
 protected:
  void SetUp() override {
    child_ = ::fork();
    ASSERT_GE(child_, 0);
    if (child_ == 0) {
      ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      ::alarm(60);  // should a signal that is waited for be lost
      ::raise(SIGSTOP);
      for (;;) asm volatile("nop");
    }
    ASSERT_EQ(::waitpid(child_, nullptr, 0), child_);
    set_options(child_, PTRACE_O_EXITKILL);
  }
  void TearDown() override {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, __WALL);
  }

  /// The signal of its next stop, when it goes on.
  int next_signal() {
    resume(child_, Resume::run);
    return WSTOPSIG(wait_stop(child_));
  }

  pid_t child_ = -1;
};

// A step that does not get on counts as none, and what others have sent comes when all is done.
TEST_F(SteppingTest, SignalsThatAreSentMeanwhileAreNotLost) {
  ::kill(child_, SIGSEGV);
  int looked_at = 0;
  EXPECT_TRUE(step_while(
      child_,
      [&](const Registers&) {
        if (++looked_at == 2) ::kill(child_, SIGSTOP);
        return looked_at < 4;
      },
      3));
  EXPECT_EQ(looked_at, 4);
  const int first = next_signal();
  EXPECT_EQ((std::set<int>{first, next_signal()}), (std::set<int>{SIGSTOP, SIGSEGV}));
}

TEST_F(SteppingTest, EndsAfterSoManySteps) {
  int looked_at = 0;
  const auto mask = get_signal_mask(child_);
  EXPECT_FALSE(step_while(
      child_,
      [&](const Registers&) {
        ++looked_at;
        return true;
      },
      5));
  EXPECT_EQ(looked_at, 6);
  EXPECT_EQ(get_signal_mask(child_), mask);
}

TEST_F(SteppingTest, AThreadThatDies) {
  const std::string who = "step thread " + std::to_string(child_);
  int looked_at = 0;
  test::expect_error(
      [&] {
        step_while(
            child_,
            [&](const Registers&) {
              if (++looked_at == 1) return true;
              siginfo_t info;
              ::kill(child_, SIGKILL);
              ::waitid(P_PID, static_cast<id_t>(child_), &info, WEXITED | WNOWAIT);
              return true;
            },
            5);
      },
      ErrorKind::process_gone, who);
}

TEST(Registers, OfAProcessThatIsNotTraced) {
  const auto ours = ::getpid();
  const std::string who = "thread " + std::to_string(ours);
  test::expect_error([&] { get_registers(ours); }, ErrorKind::process_gone,
                     who + ": ptrace(GETREGS)");
  test::expect_error([&] { set_registers(ours, {}); }, ErrorKind::process_gone,
                     who + ": ptrace(SETREGS)");
}

TEST(Registers, BasesOfSegments) {
  Registers registers{};
  registers.fs_base = 0x1000;
  registers.gs_base = 0x2000;
  EXPECT_EQ(arch::segment_base(registers, FS), Addr{0x1000});
  EXPECT_EQ(arch::segment_base(registers, GS), Addr{0x2000});
  EXPECT_EQ(arch::segment_base(registers, DS), std::nullopt);
}

}  // namespace
}  // namespace ckpt::tracee
