// ptrace(2), typed. Every request names the thread in its error. All of these must be made by the
// thread that is the tracer: in GDB that is its main thread, anywhere else they fail with ESRCH.
#pragma once

#include <sys/ptrace.h>
#include <csignal>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "arch/arch.hpp"
#include "base/types.hpp"

namespace ckpt::tracee {

using arch::get_registers;
using arch::Registers;
using arch::set_registers;

/// The whole extended state (XSAVE: in the uncompacted format); its size is what this CPU and
/// kernel use.
std::vector<std::byte> get_xstate(Tid tid);
void set_xstate(Tid tid, std::span<const std::byte> area);

/// The blocked mask; bit N-1 is signal N. While a thread is inside sigsuspend and its like the
/// kernel answers with the mask that will be put back, not the temporary one.
std::uint64_t get_signal_mask(Tid tid);
/// Caution: also forgets a mask that sigsuspend, ppoll or pselect were to put back.
void set_signal_mask(Tid tid, std::uint64_t mask);

/// What the thread stopped for; nothing in a group stop.
std::optional<siginfo_t> get_siginfo(Tid tid);
void set_siginfo(Tid tid, const siginfo_t& info);

/// Queued signals, without taking them out of the queue.
std::vector<siginfo_t> peek_signals(Tid tid, bool shared_queue);

struct RseqRegistration {
  Addr area;
  std::uint32_t size_bytes = 0;
  std::uint32_t signature = 0;
  std::uint32_t flags = 0;
};
/// The registration of restartable sequences; nothing if the kernel cannot tell (before 5.13).
std::optional<RseqRegistration> get_rseq(Tid tid);

enum class SyscallStop { none, entry, exit, seccomp };
/// Whether the thread is in a system-call stop. `none` as well where the kernel cannot tell.
SyscallStop get_syscall_stop(Tid tid);

/// Whether the thread's system calls are redirected to a handler of its own (PR_SET_SYSCALL_USER_
/// DISPATCH). False where the kernel cannot tell.
bool has_syscall_dispatch(Tid tid);

void set_options(Tid tid, unsigned long options);

enum class Resume { run, to_syscall };
/// Resumes a stopped thread; `signal` is delivered to it, 0 for none.
void resume(Tid tid, Resume how, int signal = 0);
void detach(Tid tid, int signal = 0);

/// Waits for the next stop of one thread and returns the wait status. Throws process_gone when
/// it exited or was killed.
int wait_stop(Tid tid);
/// Whether the thread is in a stop that has not been waited for yet.
bool has_untaken_stop(Tid tid);

/// What a wait status says in words, for messages.
std::string describe_status(int status);

}  // namespace ckpt::tracee
