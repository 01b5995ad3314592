#include "tracee/ptrace.hpp"

#include <sys/uio.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>

#include "base/error.hpp"
#include "base/signal_name.hpp"

#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f  // Linux 5.13
#endif

namespace ckpt::tracee {

namespace {

// <linux/ptrace.h> clashes with <sys/ptrace.h>; layouts as in ptrace(2).
struct RseqConfiguration {
  std::uint64_t rseq_abi_pointer;
  std::uint32_t rseq_abi_size;
  std::uint32_t signature;
  std::uint32_t flags;
  std::uint32_t pad;
};

struct DispatchConfiguration {
  std::uint64_t mode;
  std::uint64_t selector;
  std::uint64_t offset;
  std::uint64_t length;
};
constexpr int kGetDispatchConfiguration = 0x4211;  // Linux 6.4

struct PeekArgument {
  std::uint64_t offset;
  std::uint32_t flags;
  std::int32_t count;
};

// <sys/ptrace.h> wants an enum, requests newer than the headers are plain numbers.
long request(int number, Tid tid, std::uintptr_t address, void* data) {
  return ::ptrace(static_cast<__ptrace_request>(number), tid, address, data);
}

// Gets or sets the extended state.
void request_xstate(const char* name, int number, Tid tid, iovec& vector) {
  if (request(number, tid, arch::kExtendedStateNote, &vector) == -1)
    throw_errno(fmt::format("thread {}: ptrace({}, {})", tid, name, arch::kExtendedStateNoteName),
                errno);
}

long checked(const char* name, int number, Tid tid, std::uintptr_t address, void* data) {
  const long result = request(number, tid, address, data);
  if (result == -1) throw_errno(fmt::format("thread {}: ptrace({})", tid, name), errno);
  return result;
}

}  // namespace

std::vector<std::byte> get_xstate(Tid tid) {
  // A buffer that comes back full may have been too small (AMX makes the area 11 KiB).
  for (std::size_t size = 16384;; size *= 2) {
    std::vector<std::byte> area(size);
    iovec vector{area.data(), area.size()};
    request_xstate("GETREGSET", PTRACE_GETREGSET, tid, vector);
    if (vector.iov_len < size) {
      area.resize(vector.iov_len);
      return area;
    }
  }
}

void set_xstate(Tid tid, std::span<const std::byte> area) {
  std::vector<std::byte> copy(area.begin(), area.end());
  iovec vector{copy.data(), copy.size()};
  request_xstate("SETREGSET", PTRACE_SETREGSET, tid, vector);
}

std::uint64_t get_signal_mask(Tid tid) {
  std::uint64_t mask = 0;
  checked("GETSIGMASK", PTRACE_GETSIGMASK, tid, sizeof mask, &mask);
  return mask;
}

void set_signal_mask(Tid tid, std::uint64_t mask) {
  checked("SETSIGMASK", PTRACE_SETSIGMASK, tid, sizeof mask, &mask);
}

std::optional<siginfo_t> get_siginfo(Tid tid) {
  siginfo_t info{};
  if (request(PTRACE_GETSIGINFO, tid, 0, &info) == -1) {
    if (errno == EINVAL) return std::nullopt;  // a group stop: ptrace(2)
    throw_errno(fmt::format("thread {}: ptrace(GETSIGINFO)", tid), errno);
  }
  return info;
}

void set_siginfo(Tid tid, const siginfo_t& info) {
  siginfo_t copy = info;
  checked("SETSIGINFO", PTRACE_SETSIGINFO, tid, 0, &copy);
}

std::vector<siginfo_t> peek_signals(Tid tid, bool shared_queue) {
  std::vector<siginfo_t> all;
  for (;;) {
    std::vector<siginfo_t> some(64);
    PeekArgument argument{};
    argument.offset = all.size();
    argument.flags = shared_queue ? 1U : 0U;  // PTRACE_PEEKSIGINFO_SHARED
    argument.count = static_cast<std::int32_t>(some.size());
    const long n = checked("PEEKSIGINFO", PTRACE_PEEKSIGINFO, tid,
                           reinterpret_cast<std::uintptr_t>(&argument), some.data());
    all.insert(all.end(), some.begin(), some.begin() + n);
    if (n < static_cast<long>(some.size())) return all;
  }
}

std::optional<RseqRegistration> get_rseq(Tid tid) {
  RseqConfiguration configuration{};
  if (request(PTRACE_GET_RSEQ_CONFIGURATION, tid, sizeof configuration, &configuration) == -1) {
    if (errno == ESRCH) throw_errno(fmt::format("thread {}: ptrace(RSEQ)", tid), errno);
    return std::nullopt;
  }
  return RseqRegistration{Addr{configuration.rseq_abi_pointer}, configuration.rseq_abi_size,
                          configuration.signature, configuration.flags};
}

SyscallStop get_syscall_stop(Tid tid) {
  __ptrace_syscall_info info{};
  if (request(PTRACE_GET_SYSCALL_INFO, tid, sizeof info, &info) == -1) return SyscallStop::none;
  switch (info.op) {
    case PTRACE_SYSCALL_INFO_ENTRY: return SyscallStop::entry;
    case PTRACE_SYSCALL_INFO_EXIT: return SyscallStop::exit;
    case PTRACE_SYSCALL_INFO_SECCOMP: return SyscallStop::seccomp;
    default: return SyscallStop::none;
  }
}

bool has_syscall_dispatch(Tid tid) {
  DispatchConfiguration configuration{};
  return request(kGetDispatchConfiguration, tid, sizeof configuration, &configuration) == 0 &&
         configuration.mode != 0;
}

void set_options(Tid tid, unsigned long options) {
  checked("SETOPTIONS", PTRACE_SETOPTIONS, tid, 0,
          reinterpret_cast<void*>(options));  // NOLINT(performance-no-int-to-ptr): ptrace's ABI
}

void resume(Tid tid, Resume how, int signal) {
  const auto data = static_cast<std::uintptr_t>(signal);
  checked(how == Resume::run ? "CONT" : "SYSCALL",
          how == Resume::run ? PTRACE_CONT : PTRACE_SYSCALL, tid, 0,
          reinterpret_cast<void*>(data));  // NOLINT(performance-no-int-to-ptr): ptrace's ABI
}

void detach(Tid tid, int signal) {
  const auto data = static_cast<std::uintptr_t>(signal);
  checked("DETACH", PTRACE_DETACH, tid, 0,
          reinterpret_cast<void*>(data));  // NOLINT(performance-no-int-to-ptr): ptrace's ABI
}

int wait_stop(Tid tid) {
  int status = 0;
  for (;;) {
    const pid_t got = ::waitpid(tid, &status, __WALL);
    if (got == tid) break;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == ECHILD)
      throw Error(ErrorKind::process_gone, fmt::format("thread {}: it is gone", tid), ESRCH);
    throw_errno(fmt::format("thread {}: waitpid", tid), errno);
  }
  if (!WIFSTOPPED(status))
    throw Error(ErrorKind::process_gone,
                fmt::format("thread {}: it {}", tid, describe_status(status)), ESRCH);
  return status;
}

bool has_untaken_stop(Tid tid) {
  siginfo_t seen{};
  return ::waitid(P_PID, static_cast<id_t>(tid), &seen, WSTOPPED | WNOHANG | WNOWAIT | __WALL) ==
             0 &&
         seen.si_pid == tid;
}

std::string describe_status(int status) {
  if (WIFEXITED(status)) return fmt::format("exited with status {}", WEXITSTATUS(status));
  if (WIFSIGNALED(status)) return fmt::format("was killed by {}", signal_name(WTERMSIG(status)));
  if (WIFSTOPPED(status)) {
    const int event = status >> 16;  // NOLINT(hicpp-signed-bitwise): ptrace(2)
    return event == 0 ? fmt::format("stopped by {}", signal_name(WSTOPSIG(status) & 0x7f))
                      : fmt::format("stopped at ptrace event {}", event);
  }
  return fmt::format("has wait status {:#x}", status);
}

}  // namespace ckpt::tracee
