// The thread ids that Go's runtime remembers. It preempts a goroutine by a signal to its thread, by
// the kernel's id (tgkill), which it asked for when the thread began: a goroutine that spins could
// never be stopped in a process with new ids, so garbage could not be collected.
#pragma once

#include <optional>
#include <span>

#include "base/types.hpp"
#include "tracee/memory.hpp"

namespace ckpt::ids {

/// Where the runtime has the id of the thread with that FS base: nothing if it is no thread of
/// Go's, or the id is not `id`. Only what has the runtime's structure counts: the thread-local
/// pointer to a g whose m has a g0 that belongs to the same m.
std::optional<Addr> find_go_id(const tracee::Memory& memory, Addr thread_pointer, Tid id);

struct GoThread {
  Addr thread_pointer;
  Tid before = 0;
  Tid now = 0;
};

/// Changes the ids wherever find_go_id() finds them.
void renew_go_ids(const tracee::Memory& memory, std::span<const GoThread> threads);

}  // namespace ckpt::ids
