// arch/x86/include/asm/sigframe.h. See arch/signal_frame.hpp.
#pragma once

#include <sys/ucontext.h>

#include <cstddef>

namespace ckpt::arch {

/// A handler's return address, which the instruction that returns takes off the stack.
inline constexpr std::size_t kReturnAddressBytes = 8;
/// No code that handlers return to is longer.
inline constexpr std::size_t kRestorerBytes = 16;

// The kernel's struct ucontext begins as glibc's does. It follows the return address.
inline constexpr std::size_t kSignalRegistersAt =
    kReturnAddressBytes + offsetof(ucontext_t, uc_mcontext.gregs);
inline constexpr std::size_t kSignalRegistersBytes = sizeof(gregset_t);
/// Where in these bytes the program counter lies; and, in front of or behind them, the address of
/// the extended state.
inline constexpr std::size_t kSignalPcOffset = REG_RIP * sizeof(greg_t);
inline constexpr std::size_t kSignalStatePointerOffset = sizeof(gregset_t);

}  // namespace ckpt::arch
