// Calls that a stopped process makes for us. The process is a child of the test's.
#include "tracee/inferior.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace ckpt::tracee {
namespace {

constexpr std::uint64_t kRoom = 4 * kPageSize;

class InferiorTest : public testing::Test {
 protected:
  void SetUp() override {
    child_ = ::fork();
    ASSERT_GE(child_, 0);
    if (child_ == 0) {
      ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      ::raise(SIGSTOP);
      for (;;) ::pause();
    }
    ASSERT_EQ(::waitpid(child_, nullptr, 0), child_);
    set_options(child_, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD);
    inferior_.emplace(child_);
    thread_.emplace(child_, child_, RemoteThread::Ids{child_, child_}, inferior_->memory,
                    find_syscall_instruction(inferior_->process.mappings(), inferior_->memory));
    scratch_ = thread_->make_scratch(kRoom);
    turn_.emplace(*inferior_, *thread_, scratch_);
  }
  void TearDown() override {
    turn_.reset();
    if (thread_) thread_->abandon();
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, __WALL);
  }

  pid_t child_ = -1;
  std::optional<Inferior> inferior_;
  std::optional<RemoteThread> thread_;
  Scratch scratch_{};
  std::optional<Turn> turn_;
};

TEST_F(InferiorTest, MakesCalls) {
  EXPECT_EQ(inferior_->attempt(SYS_getpid, {}), child_);
  EXPECT_EQ(inferior_->call("getpid", SYS_getpid, {}), static_cast<std::uint64_t>(child_));
}

TEST_F(InferiorTest, TellsOfFailures) {
  EXPECT_EQ(inferior_->attempt(SYS_close, {-1}), -EBADF);
  EXPECT_EQ(error_of(-EBADF), EBADF);
  EXPECT_EQ(error_of(0), 0);
  EXPECT_EQ(error_of(INT64_MIN), 0);  // an address, not an error
  try {
    inferior_->call("close what is not open", SYS_close, {-1});
    FAIL() << "it is closed";
  } catch (const Error& error) {
    EXPECT_EQ(error.error_number(), EBADF);
    EXPECT_NE(std::string_view(error.what()).find("close what is not open"),
              std::string_view::npos);
  }
}

TEST_F(InferiorTest, GivesAndTakesValues) {
  const auto limit = inferior_->reserve<rlimit>();
  inferior_->call("prlimit", SYS_prlimit64, {0, RLIMIT_NOFILE, 0, limit});
  rlimit own{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &own), 0);
  EXPECT_EQ(limit.read().rlim_cur, own.rlim_cur);
  EXPECT_EQ(
      inferior_->attempt(SYS_faccessat, {AT_FDCWD, inferior_->put_string("/proc/self"), F_OK}), 0);
}

TEST_F(InferiorTest, PiecesLieApartAndAreGivenBack) {
  const std::uint64_t room = inferior_->room_bytes();
  {
    const auto first = inferior_->put_value(std::uint64_t{1});
    const auto second = inferior_->put_value(std::uint64_t{2});
    EXPECT_GE(second.at() - first.at(), sizeof(std::uint64_t));
    EXPECT_EQ(first.read(), 1U);
    EXPECT_EQ(second.read(), 2U);
    EXPECT_LT(inferior_->room_bytes(), room);
  }
  EXPECT_EQ(inferior_->room_bytes(), room);
  for (int i = 0; i < 10'000; ++i)  // would not fit all at once
    EXPECT_EQ(inferior_->put_value(i).read(), i);
}

TEST_F(InferiorTest, RefusesWhatDoesNotFit) {
  const auto most = inferior_->reserve(inferior_->room_bytes());
  try {
    const auto more = inferior_->put_value('x');
    FAIL() << "it fitted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::refused);
  }
  Batch batch(*inferior_);  // for which there is room always
  batch.add(SYS_getpid, {});
  batch.run();
  EXPECT_EQ(batch.result(0), child_);
}

TEST_F(InferiorTest, RunsMoreCallsThanFitAtOnce) {
  const auto kept = inferior_->put_value(std::uint64_t{4711});
  Batch batch(*inferior_);
  for (int i = 0; i < 1000; ++i) batch.add(SYS_fcntl, {i % 2 == 0 ? 0 : -1, F_GETFD});
  batch.run();
  ASSERT_EQ(batch.size(), 1000U);
  for (std::size_t i = 0; i < batch.size(); ++i)
    EXPECT_EQ(error_of(batch.result(i)), i % 2 == 0 ? 0 : EBADF) << i;
  EXPECT_EQ(kept.read(), 4711U);
}

TEST_F(InferiorTest, EndsABatchAtTheFirstFailure) {
  const auto limit = inferior_->put_value(rlimit{7, 7});
  Batch batch(*inferior_);
  batch.add(SYS_close, {-1});
  batch.add(SYS_prlimit64, {0, RLIMIT_NOFILE, limit, 0});
  EXPECT_THROW(batch.run_all("close"), Error);
  const auto now = inferior_->reserve<rlimit>();
  inferior_->call("prlimit", SYS_prlimit64, {0, RLIMIT_NOFILE, 0, now});
  EXPECT_NE(now.read().rlim_cur, 7U);
}

TEST_F(InferiorTest, MakesACallOnceMore) {
  Batch batch(*inferior_);
  LoopEntry& call = batch.add(SYS_close, {-1});
  batch.run();
  EXPECT_EQ(call.result, -EBADF);
  call.number = SYS_getpid;
  EXPECT_EQ(inferior_->again(call).result, child_);
}

TEST_F(InferiorTest, HasNobodyToRunCallsBetweenTurns) {
  EXPECT_EQ(inferior_->tid(), child_);
  turn_.reset();
  EXPECT_THROW(inferior_->attempt(SYS_getpid, {}), std::logic_error);
  EXPECT_THROW(static_cast<void>(inferior_->room_bytes()), std::logic_error);
}

}  // namespace
}  // namespace ckpt::tracee
