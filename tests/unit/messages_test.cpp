// What a user is told of failures that no test can bring about, or only by chance.
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "base/signal_name.hpp"
#include "state/process/creation.hpp"
#include "state/report.hpp"
#include "support.hpp"
#include "tracee/ptrace.hpp"

namespace ckpt {
namespace {

TEST(SignalName, OfAnyNumber) {
  EXPECT_EQ(signal_name(SIGSEGV), "SIGSEGV");
  for (const int unnamed : {-1, 0, SIGRTMIN + 6, 200})
    EXPECT_EQ(signal_name(unnamed), "signal " + std::to_string(unnamed));
}

TEST(DescribeStatus, SaysWhatHasBecomeOfAThread) {
  struct Row {
    int status;
    std::string expected;
  };
  const auto stopped = [](int signal, int event = 0) { return event << 16 | signal << 8 | 0x7f; };
  const int realtime = SIGRTMIN + 1;
  for (const Row& row : {
           Row{3 << 8, "exited with status 3"}, Row{SIGKILL, "was killed by SIGKILL"},
           Row{SIGSEGV | 0x80, "was killed by SIGSEGV"},  // with a core file
           Row{realtime, "was killed by signal " + std::to_string(realtime)},
           Row{stopped(SIGSTOP), "stopped by SIGSTOP"},
           Row{stopped(SIGTRAP | 0x80), "stopped by SIGTRAP"},  // PTRACE_O_TRACESYSGOOD
           Row{stopped(realtime), "stopped by signal " + std::to_string(realtime)},
           Row{stopped(SIGTRAP, 4), "stopped at ptrace event 4"},
           Row{0xffff, "has wait status 0xffff"},  // continued
       })
    EXPECT_EQ(tracee::describe_status(row.status), row.expected);
}

TEST(WaitStop, AProcessThatHasEnded) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(3);
  const std::string who = "thread " + std::to_string(child);
  test::expect_error([&] { tracee::wait_stop(child); }, ErrorKind::process_gone,
                     who + ": it exited with status 3");
  test::expect_error([&] { tracee::wait_stop(child); }, ErrorKind::process_gone,
                     who + ": it is gone");
}

TEST(ThrowNotCreated, SaysWhyAndWhetherTheIdIsTheReason) {
  struct Row {
    Tid wanted;
    int error_number;
    bool is_for_the_id;
    std::string part;
  };
  for (const Row& row : {
           Row{0, EAGAIN, false, "create a thread: Resource temporarily unavailable (EAGAIN): the"},
           Row{7, EAGAIN, false, "create a thread with the id 7: Resource temporarily unavailable"},
           Row{0, EPERM, false, "create a thread: Operation not permitted (EPERM)"},
           Row{7, EPERM, true, "create a thread with the id 7: Operation not permitted (EPERM)"},
           Row{7, EEXIST, true, "create a thread with the id 7: File exists (EEXIST)"},
           Row{7, EINVAL, true, "create a thread with the id 7: Invalid argument (EINVAL)"},
           Row{7, ENOMEM, false, "create a thread with the id 7: Cannot allocate memory (ENOMEM)"},
       }) {
    const auto create = [&] { state::throw_not_created("a thread", row.wanted, row.error_number); };
    test::expect_error(create, ErrorKind::system, row.part);
    bool is_for_the_id = false;
    try {
      create();
    } catch (const state::IdRefused&) {
      is_for_the_id = true;
    } catch (const Error& error) {
      EXPECT_EQ(error.error_number(), row.error_number);
    }
    EXPECT_EQ(is_for_the_id, row.is_for_the_id) << row.part;
  }
}

TEST(Report, WorstFirstAndTheSameFromJson) {
  using state::Severity;
  state::Report report;
  report.add(Severity::note, "fd 1", "file", "a note");
  report.add(Severity::changed, "fd 2", "socket", "first");
  report.add(Severity::lost, "fd 3", "timer", "gone");
  report.add(Severity::changed, "fd 4", "socket", "second");
  const auto read = image::decode<std::vector<state::Finding>>(image::encode(report.sorted()));
  ASSERT_EQ(read.size(), 4U);
  EXPECT_EQ(read[0].severity, Severity::lost);
  EXPECT_EQ(read[0].object, "fd 3");
  EXPECT_EQ(read[0].kind, "timer");
  EXPECT_EQ(read[0].text, "gone");
  EXPECT_EQ(read[1].severity, Severity::changed);
  EXPECT_EQ(read[1].text, "first");
  EXPECT_EQ(read[2].text, "second");
  EXPECT_EQ(read[3].severity, Severity::note);
}

}  // namespace
}  // namespace ckpt
