#include "tracee/seize.hpp"

#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/process_dir.hpp"
#include "tracee/ptrace.hpp"

namespace ckpt::tracee {

namespace {

constexpr int kPatienceMilliseconds = 5000;

[[noreturn]] void explain_refusal(Tid pid, int error_number) {
  const proc::ProcessDir process(pid);
  const proc::Status status = process.status();
  if (status.state == 'Z')
    fail(ErrorKind::refused, "process {}: it has ended; nothing is left to save", pid);
  if (status.tracer != 0)
    fail(ErrorKind::refused, "process {}: process {} is tracing it: detach that one first", pid,
         status.tracer);
  if (status.uids[0] != ::geteuid() && ::geteuid() != 0)
    fail(ErrorKind::refused, "process {}: it belongs to another user (uid {})", pid,
         status.uids[0]);
  const auto scope = try_read_file("/proc/sys/kernel/yama/ptrace_scope");
  if (scope && scope->front() != '0')
    fail(ErrorKind::refused,
         "process {}: the system lets one trace only descendants (kernel.yama.ptrace_scope is {})",
         pid, scope->front());
  throw_errno(fmt::format("process {}: it may not be traced", pid), error_number);
}

// A thread on its way out is listed a little longer, and says EPERM.
bool has_ended(const proc::ProcessDir& process, Tid tid) {
  const auto stat = try_read_file(process.path(fmt::format("task/{}/stat", tid)));
  const auto at = stat ? stat->rfind(") ") : std::string::npos;
  if (at == std::string::npos || at + 2 >= stat->size()) return true;
  return (*stat)[at + 2] == 'Z' || (*stat)[at + 2] == 'X';
}

}  // namespace

Seized::Seized(Tid pid, std::function<void(Tid)> on_stop)
    : pid_(pid), on_stop_(std::move(on_stop)) {
  try {
    while (seize_new_threads()) {
    }
  } catch (...) {
    release();
    throw;
  }
}

Seized::~Seized() { release(); }

int Seized::held_signal(Tid tid) const {
  const auto found = held_.find(tid);
  return found == held_.end() ? 0 : found->second;
}

// A thread that has run something for us may have the signal among its pending ones by now.
int Seized::still_held(Tid tid) const noexcept {
  const int signal = held_signal(tid);
  siginfo_t now{};
  const bool same = signal != 0 && ::ptrace(PTRACE_GETSIGINFO, tid, nullptr, &now) == 0 &&
                    now.si_signo == signal && now.si_code >> 8 != PTRACE_EVENT_STOP;
  return same ? signal : 0;
}

// A thread that is not stopped yet may make new ones: look again until there are none.
bool Seized::seize_new_threads() {
  const proc::ProcessDir process(pid_);
  bool any = false;
  for (const Tid tid : process.threads()) {
    if (std::find(threads_.begin(), threads_.end(), tid) != threads_.end()) continue;
    if (process.is_kernel_worker(tid)) continue;
    const unsigned long options = PTRACE_O_TRACESYSGOOD;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): ptrace's ABI
    if (::ptrace(PTRACE_SEIZE, tid, nullptr, reinterpret_cast<void*>(options)) != 0) {
      const int error_number = errno;
      if ((tid != pid_ || process.main_ended()) &&
          (error_number == ESRCH || has_ended(process, tid)))
        continue;
      if (process.is_kernel_worker(tid)) continue;  // made just now
      explain_refusal(pid_, error_number);
    }
    threads_.push_back(tid);
    any = true;
    if (::ptrace(PTRACE_INTERRUPT, tid, nullptr, nullptr) != 0)
      throw_errno(fmt::format("thread {}: ptrace(INTERRUPT)", tid), errno);
    wait_until_stopped(tid);
  }
  return any;
}

void Seized::wait_until_stopped(Tid tid) {
  for (int waited = 0; waited < kPatienceMilliseconds; ++waited) {
    siginfo_t seen{};
    if (::waitid(P_PID, static_cast<id_t>(tid), &seen,
                 WSTOPPED | WEXITED | WNOHANG | WNOWAIT | __WALL) != 0 &&
        errno != EINTR)
      throw_errno(fmt::format("thread {}: waitid", tid), errno);
    if (seen.si_pid != tid) {
      ::usleep(1000);
      continue;
    }
    const bool stopped = seen.si_code == CLD_TRAPPED || seen.si_code == CLD_STOPPED;
    // Who has waited for a signal's stop has taken the signal: should we be killed, it would be
    // lost. As long as the thread is not let go, a look is enough.
    const bool has_signal = stopped && seen.si_status >> 8 == 0;  // NOLINT(hicpp-signed-bitwise)
    int status = 0;
    if (!has_signal && ::waitpid(tid, &status, __WALL | WNOHANG) != tid) continue;
    if (!stopped) {
      std::erase(threads_, tid);
      if (tid == pid_)
        throw Error(ErrorKind::process_gone,
                    fmt::format("process {}: it {}", pid_, describe_status(status)), ESRCH);
      return;
    }
    if (has_signal) held_[tid] = seen.si_status;
    if (on_stop_) on_stop_(tid);
    return;
  }
  const auto call = try_read_file(fmt::format("/proc/{}/task/{}/syscall", pid_, tid));
  const bool vfork = call && (call->starts_with("58 ") || call->starts_with("56 "));
  fail(ErrorKind::refused, "process {}: thread {} cannot be stopped: {}", pid_, tid,
       vfork ? "it is between vfork and exec; wait until its child has called exec"
             : "it is in an uninterruptible wait inside the kernel");
}

void Seized::release() noexcept {
  for (const Tid tid : threads_) {
    const auto signal = static_cast<std::uintptr_t>(still_held(tid));
    // NOLINTNEXTLINE(performance-no-int-to-ptr): ptrace's ABI
    ::ptrace(PTRACE_DETACH, tid, nullptr, reinterpret_cast<void*>(signal));
  }
  threads_.clear();
}

}  // namespace ckpt::tracee
