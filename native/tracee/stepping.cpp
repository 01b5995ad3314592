#include "tracee/stepping.hpp"

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <optional>
#include <vector>

#include "base/error.hpp"

namespace ckpt::tracee {

namespace {

constexpr std::uint64_t bit_of(int signal) { return 1ULL << (static_cast<unsigned>(signal) - 1U); }

// What the thread can cause itself, SIGTRAP by each step. The kernel forces such a signal on a
// thread that blocks or ignores it, and sets its action to SIG_DFL for that
// (force_sig_info_to_task): a handler of the program would be gone.
constexpr std::array<int, 6> kForced = {SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS};

// Signal mask and siginfo of a stop, and the signals that others have sent meanwhile.
class Stop {
 public:
  explicit Stop(Tid tid) : tid_(tid), mask_(get_signal_mask(tid)), info_(get_siginfo(tid)) {
    set_signal_mask(tid_, ~forced_signals());
  }
  Stop(Stop&&) = delete;
  ~Stop() {
    try {
      set_signal_mask(tid_, mask_);
      if (info_) set_siginfo(tid_, *info_);
      for (const int signal : owed_) ::syscall(SYS_tkill, tid_, signal);
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): the thread is gone
    }
  }
  void owe(int signal) {
    if (std::find(owed_.begin(), owed_.end(), signal) == owed_.end()) owed_.push_back(signal);
  }

 private:
  Tid tid_;
  std::uint64_t mask_;
  std::optional<siginfo_t> info_;
  std::vector<int> owed_;
};

}  // namespace

std::uint64_t forced_signals() {
  std::uint64_t bits = 0;
  for (const int signal : kForced) bits |= bit_of(signal);
  return bits;
}

bool step_while(Tid tid, const std::function<bool(const Registers&)>& go_on, int most_steps) {
  if (!go_on(get_registers(tid))) return true;
  Stop stop(tid);
  for (int steps = 0; steps < most_steps;) {
    if (::ptrace(PTRACE_SINGLESTEP, tid, nullptr, nullptr) != 0)
      throw_errno(fmt::format("step thread {}", tid), errno);
    const int status = wait_stop(tid);
    const int signal = WSTOPSIG(status);
    const bool event = status >> 16 != 0;  // NOLINT(hicpp-signed-bitwise): ptrace(2)
    const auto info = get_siginfo(tid);
    const bool sent = !event && (signal == SIGSTOP || (info && info->si_code <= 0));
    if (sent) stop.owe(signal);
    if (event || sent) continue;
    // An instruction that faults, or a debugger's int3, which is not the program's instruction; a
    // step has another code.
    if (signal != SIGTRAP || (info && info->si_code == SI_KERNEL)) return false;
    if (!go_on(get_registers(tid))) return true;
    ++steps;
  }
  return false;
}

}  // namespace ckpt::tracee
