#include "tracee/debug_registers.hpp"

#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <thread>

#include "arch/debug_registers.hpp"
#include "base/error.hpp"

namespace ckpt::tracee {

namespace {

using Clock = std::chrono::steady_clock;

// The debug registers watch aligned words only.
alignas(8) volatile std::uint64_t probe_data = 0;

// Each part is announced by a stop of its own, so that it is known what a trap is for. Only what
// may be called after a fork in a program with threads.
[[noreturn]] void walk_into_both(Tid parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent || ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(1);
  ::kill(::getpid(), SIGSTOP);
  probe_data = 1;
  ::kill(::getpid(), SIGSTOP);
  arch::ckpt_probe_code();
  ::_exit(0);
}

class ProbeChild {
 public:
  explicit ProbeChild(std::chrono::milliseconds limit) : deadline_(Clock::now() + limit) {
    const Tid parent = ::getpid();
    pid_ = ::_Fork();
    if (pid_ == 0) walk_into_both(parent);
  }
  ~ProbeChild() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, __WALL);
  }
  ProbeChild(const ProbeChild&) = delete;
  ProbeChild& operator=(const ProbeChild&) = delete;

  [[nodiscard]] Tid pid() const { return pid_; }

  /// Runs it until it stops for one of the two signals: which one; 0 when it has ended, nothing
  /// when it does neither in time.
  std::optional<int> next_stop() {
    for (;;) {
      // Fails when it has been killed: then the wait tells.
      if (stopped_) ::ptrace(PTRACE_CONT, pid_, nullptr, nullptr);
      const auto status = wait();
      if (!status) return std::nullopt;
      stopped_ = WIFSTOPPED(*status);
      if (!stopped_) return WIFEXITED(*status) ? std::optional<int>(0) : std::nullopt;
      const int signal = WSTOPSIG(*status);
      if (signal == SIGSTOP || signal == SIGTRAP) return signal;  // else Ctrl-C, say: dropped
    }
  }

 private:
  std::optional<int> wait() {
    using std::chrono::microseconds;
    constexpr microseconds kLongestPause{5000};
    for (microseconds pause{20};; pause = std::min(2 * pause, kLongestPause)) {
      int status = 0;
      const pid_t got = pid_ > 0 ? ::waitpid(pid_, &status, __WALL | WNOHANG) : -1;
      if (got == pid_ && got > 0) {
        if (!WIFSTOPPED(status)) pid_ = -1;
        return status;
      }
      if (got < 0 || Clock::now() > deadline_) return std::nullopt;
      std::this_thread::sleep_for(pause);
    }
  }

  Tid pid_ = -1;
  bool stopped_ = false;
  Clock::time_point deadline_;
};

}  // namespace

void set_debug_registers(Tid child, const ProbeTargets& targets) {
  arch::set_debug_registers(child, targets.data, targets.code);
}

std::optional<DebugRegisters> try_debug_registers(const SetDebugRegisters& set,
                                                  std::chrono::milliseconds limit) {
  ProbeChild child(limit);
  if (child.next_stop() != SIGSTOP) return std::nullopt;
  const ProbeTargets targets{Addr{reinterpret_cast<std::uintptr_t>(&probe_data)},
                             Addr{reinterpret_cast<std::uintptr_t>(&arch::ckpt_probe_code)}};
  try {
    set(child.pid(), targets);
  } catch (const Error&) {
    return DebugRegisters{};  // the debugger would fare no better
  }
  DebugRegisters seen;
  for (bool* part : {&seen.data, &seen.code}) {
    auto stop = child.next_stop();
    if (stop == SIGTRAP) {
      *part = true;
      stop = child.next_stop();
    }
    // Between the parts there is a stop, at the end there is none.
    if (stop != (part == &seen.data ? SIGSTOP : 0)) return std::nullopt;
  }
  return seen;
}

}  // namespace ckpt::tracee
