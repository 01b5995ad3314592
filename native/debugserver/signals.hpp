// The numbers that GDB's remote protocol has for signals (include/gdb/signals.def of GDB): they are
// those of no system.
#pragma once

namespace ckpt::debugserver {

/// Of a signal of this system.
int protocol_signal(int signal);
/// The signal of this system; 0 if it has none.
int signal_of_protocol(int number);

}  // namespace ckpt::debugserver
