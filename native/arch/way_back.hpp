// A thread that runs something for us must go on as if nothing had been, should we be killed: the
// kernel lets it go then, wherever it is. So whatever it runs ends in a return from a signal
// handler (rt_sigreturn), to a frame that holds its own registers, signal mask and extended state.
#pragma once

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "arch/arch.hpp"
#include "base/types.hpp"

namespace ckpt::arch {

/// Where a thread goes back to.
struct GoingOn {
  /// The kernel makes no restart of a system call on this way: it begins anew in them, as far as it
  /// is to.
  Registers registers{};
  /// If one of these signals is pending then, the call has failed with EINTR instead.
  std::uint64_t interrupting = 0;
  Addr behind_call;  // where it goes on in that case
  /// A signal that was about to be delivered: it is sent again.
  std::optional<siginfo_t> held;
  Tid group = 0;  // as the process itself sees them
  Tid thread = 0;
};

/// From the registers of a stopped thread, and its signal mask. Asked before the thread is touched.
using GoOn = std::function<GoingOn(const Registers& registers, std::uint64_t mask)>;

/// The frame, to be written to `at`, a multiple of 64: in memory that the thread can write.
/// `xstate`: the thread's extended state, as ptrace gives it. The thread's alternate stack stays as
/// it is.
std::vector<std::byte> way_back_frame(Addr at, const GoingOn& to, std::uint64_t mask,
                                      std::span<const std::byte> xstate);
/// The stack pointer with which the code that goes back (see loop.hpp) finds it.
Addr way_back_stack(Addr frame);
/// The most room that a frame with extended state of that size takes.
std::uint64_t way_back_bytes(std::size_t xstate_bytes);

}  // namespace ckpt::arch
