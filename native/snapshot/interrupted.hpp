// Where signals have interrupted the threads of a program whose handlers have not returned yet.
#pragma once

#include <vector>

#include "ids/signal_frames.hpp"
#include "snapshot/snapshot.hpp"
#include "tracee/memory.hpp"

namespace ckpt::snapshot {

/// Innermost first. `stacks`: memory in which stacks may be.
std::vector<ids::Interrupted> interrupted_places(const state::ThreadState& thread,
                                                 const tracee::Memory& memory,
                                                 const state::SignalState& signals,
                                                 const std::vector<proc::PageRun>& stacks);

/// All that is writable in a snapshot.
std::vector<proc::PageRun> possible_stacks(const state::AddressSpace& space);

}  // namespace ckpt::snapshot
