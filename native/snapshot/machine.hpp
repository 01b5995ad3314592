// What of the machine a restored program depends on: the processor's features. Looked up at the
// save, compared at the restore.
#pragma once

#include <string>
#include <vector>

#include "image/format.hpp"
#include "snapshot/snapshot.hpp"
#include "tracee/memory.hpp"

namespace ckpt::snapshot {

/// As uname(2) says it: "6.1.0-1-amd64".
std::string kernel_release();

/// Kernel, host name, boot id, processor features of this machine.
Host this_machine();

/// Throws Error (unsupported) naming what this machine lacks or has different.
void check_machine(const Snapshot& snapshot);

/// For a restore on a processor with more state than the saving one: has the program's dynamic
/// linker reserve as much as is saved here when it looks up a function. Memory is filled, no thread
/// runs. Throws Error (unsupported) when a thread is just about to save.
void widen_state_saves(const Snapshot& snapshot, const tracee::Memory& memory);

/// For a restore on a processor that lays its extended state out in another way: the states that
/// signal handlers will return to are laid out as here. Memory is filled, no thread runs. Throws
/// Error (unsupported) when one has something that has no room in its place.
void refit_signal_frames(const Snapshot& snapshot, const tracee::Memory& memory);

}  // namespace ckpt::snapshot
