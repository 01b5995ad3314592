// The processor's debug registers.
#pragma once

#include "base/types.hpp"

namespace ckpt::arch {

/// Sets a watchpoint of eight bytes at `data`, which is aligned to them, for writes, and a
/// breakpoint of the hardware at `code`, in a stopped thread, as a debugger does. Throws Error.
void set_debug_registers(Tid tid, Addr data, Addr code);

/// A function that does nothing. Begins with the shortest instruction, which can be replaced.
extern "C" [[gnu::visibility("hidden")]] void ckpt_probe_code();

}  // namespace ckpt::arch
