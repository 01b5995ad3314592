#include "tracee/stepping.hpp"

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <optional>

#include "base/error.hpp"

namespace ckpt::tracee {

namespace {

// Signal mask and siginfo of a stop, and SIGSTOPs that others have sent meanwhile and count on.
class Stop {
 public:
  explicit Stop(Tid tid) : tid_(tid), mask_(get_signal_mask(tid)), info_(get_siginfo(tid)) {
    set_signal_mask(tid_, ~0ULL);
  }
  Stop(Stop&&) = delete;
  ~Stop() {
    try {
      set_signal_mask(tid_, mask_);
      if (info_) set_siginfo(tid_, *info_);
      if (owed_) ::syscall(SYS_tkill, tid_, SIGSTOP);
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): the thread is gone
    }
  }
  void owe() { owed_ = true; }

 private:
  Tid tid_;
  std::uint64_t mask_;
  std::optional<siginfo_t> info_;
  bool owed_ = false;
};

}  // namespace

bool step_while(Tid tid, const std::function<bool(const Registers&)>& go_on, int most_steps) {
  if (!go_on(get_registers(tid))) return true;
  Stop stop(tid);
  for (int steps = 0; steps < most_steps;) {
    if (::ptrace(PTRACE_SINGLESTEP, tid, nullptr, nullptr) != 0)
      throw_errno(fmt::format("step thread {}", tid), errno);
    const int status = wait_stop(tid);
    const int signal = WSTOPSIG(status);
    if (signal == SIGSTOP) stop.owe();
    const bool event = status >> 16 != 0;  // NOLINT(hicpp-signed-bitwise): ptrace(2)
    if (event || signal == SIGSTOP) continue;
    if (signal != SIGTRAP)
      fail(ErrorKind::refused, "thread {}: {} at a single step", tid, describe_status(status));
    // A debugger's int3, which is not the program's instruction; a step has another code.
    const auto info = get_siginfo(tid);
    if (info && info->si_code == SI_KERNEL) return false;
    if (!go_on(get_registers(tid))) return true;
    ++steps;
  }
  return false;
}

}  // namespace ckpt::tracee
