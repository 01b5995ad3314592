// arch/arm64/kernel/signal.c. See arch/signal_frame.hpp.
#pragma once

#include <sys/ucontext.h>

#include <csignal>
#include <cstddef>

namespace ckpt::arch {

/// A handler's return address is in a register.
inline constexpr std::size_t kReturnAddressBytes = 0;
/// mov x8, #139; svc #0
inline constexpr std::size_t kRestorerBytes = 8;

// struct rt_sigframe: siginfo, ucontext.
inline constexpr std::size_t kSignalRegistersAt =
    sizeof(siginfo_t) + offsetof(ucontext_t, uc_mcontext.regs);
inline constexpr std::size_t kSignalRegistersBytes = 34 * 8;  // x0 to x30, sp, pc, pstate
inline constexpr std::size_t kSignalPcOffset = 32 * 8;
/// The extended state lies in the frame itself; its address nowhere.
inline constexpr std::size_t kSignalStatePointerOffset = kSignalRegistersBytes;

}  // namespace ckpt::arch
