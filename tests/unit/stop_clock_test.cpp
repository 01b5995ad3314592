#include <sys/wait.h>
#include <unistd.h>

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
  Waiting() : pid_(::fork()) {
    while (pid_ == 0) ::pause();
  }
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
  clock.arm(child.pid(), ::getpid());  // not one of its threads, and it has no other
  while (clock.disarm()) {
    clock.arm(child.pid(), ::getpid());
    std::this_thread::yield();
  }
  EXPECT_FALSE(clock.on_its_way());
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
