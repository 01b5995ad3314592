#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <thread>

#include <gtest/gtest.h>

#include "tracee/stop_clock.hpp"

namespace ckpt::tracee {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

/// A child that waits, killed in the end.
class Waiting {
 public:
  template <typename Function>
  explicit Waiting(Function first) : pid_(::fork()) {
    if (pid_ != 0) return;
    first();
    while (true) ::pause();
  }
  Waiting() : Waiting([] {}) {}
  ~Waiting() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

  [[nodiscard]] Tid pid() const { return pid_; }
  /// Waits for its next stop, and has it go on again.
  int next_stop() const {
    int status = 0;
    EXPECT_EQ(::waitpid(pid_, &status, WUNTRACED), pid_);
    ::kill(pid_, SIGCONT);
    return WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
  }

 private:
  Tid pid_;
};

TEST(StopClock, StopsOnceForEachArming) {
  const Waiting child;
  StopClock clock(milliseconds(5));
  for (int round = 0; round < 3; ++round) {
    EXPECT_FALSE(clock.on_its_way());
    clock.arm(child.pid(), child.pid());
    EXPECT_EQ(child.next_stop(), SIGSTOP);
    EXPECT_TRUE(clock.on_its_way());
    EXPECT_TRUE(clock.disarm());
    EXPECT_FALSE(clock.disarm());
    clock.seen();
    clock.begin_anew();
  }
}

TEST(StopClock, TriesAnotherThreadAndGivesUpWithoutOne) {
  const Waiting child;
  StopClock clock(milliseconds(0));
  clock.arm(child.pid(), ::getpid());  // not one of its threads
  EXPECT_EQ(child.next_stop(), SIGSTOP);
  EXPECT_TRUE(clock.disarm());
  clock.seen();
  ::kill(child.pid(), SIGKILL);
  siginfo_t ended{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child.pid()), &ended, WEXITED | WNOWAIT), 0);
  clock.arm(child.pid(), child.pid());
  while (clock.disarm()) {
    clock.arm(child.pid(), child.pid());
    std::this_thread::yield();
  }
  EXPECT_FALSE(clock.on_its_way());
}

TEST(StopClock, AThreadThatEndsHandsOn) {
  std::array<int, 2> tids{};
  std::array<int, 2> go{};
  ASSERT_EQ(::pipe(tids.data()), 0);
  ASSERT_EQ(::pipe(go.data()), 0);
  const Waiting child([&] {
    std::thread([&] {
      const Tid tid = ::gettid();
      char byte = 0;
      static_cast<void>(!::write(tids[1], &tid, sizeof tid));
      static_cast<void>(!::read(go[0], &byte, 1));
    }).detach();
  });
  Tid tid = 0;
  ASSERT_EQ(::read(tids[0], &tid, sizeof tid), static_cast<ssize_t>(sizeof tid));
  // Past the point where it would show a signal, and not ended yet.
  ASSERT_EQ(::ptrace(PTRACE_SEIZE, tid, nullptr, PTRACE_O_TRACEEXIT), 0);
  ASSERT_EQ(::write(go[1], "x", 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(tid, &status, __WALL), tid);
  ASSERT_EQ(status >> 8, SIGTRAP | (PTRACE_EVENT_EXIT << 8));
  StopClock clock(milliseconds(0));
  clock.arm(child.pid(), tid);
  while (!clock.on_its_way()) std::this_thread::yield();
  ASSERT_EQ(::ptrace(PTRACE_CONT, tid, nullptr, nullptr), 0);
  ASSERT_EQ(::waitpid(tid, &status, __WALL), tid);
  EXPECT_EQ(child.next_stop(), SIGSTOP);
  for (const int fd : {tids[0], tids[1], go[0], go[1]}) ::close(fd);
}

TEST(StopClock, EndsWhileItWaits) {
  const Waiting child;
  for (int round = 0; round < 200; ++round) {
    StopClock clock(hours(1));
    if (round % 2 == 0) clock.arm(child.pid(), child.pid());
    if (round % 4 < 2) {
      EXPECT_EQ(clock.disarm(), round % 2 == 0);
    }
    EXPECT_FALSE(clock.on_its_way());
  }
}

}  // namespace
}  // namespace ckpt::tracee
