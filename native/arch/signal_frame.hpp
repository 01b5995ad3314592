// What the kernel puts on the stack for a signal handler (struct rt_sigframe): where in it the
// registers lie that were interrupted.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "arch/arch.hpp"

#if defined(__x86_64__)
#include "arch/x86_64/signal_frame.hpp"
#elif defined(__aarch64__)
#include "arch/aarch64/signal_frame.hpp"
#endif

namespace ckpt::arch {

/// The registers in the kSignalRegistersBytes that lie kSignalRegistersAt behind the frame's begin:
/// the general ones and the program counter. Nothing if they can be none.
std::optional<Registers> signal_registers(std::span<const std::byte> bytes);

/// Where in these bytes the register of that name lies, one of those above.
std::size_t signal_register_offset(std::string_view name);

}  // namespace ckpt::arch
