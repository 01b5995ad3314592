// Threads that were waiting for a child at the save. Every child that such a wait can get has ended
// by the restore (state/process/children.hpp), so the wait would give it at once; but the call that
// the kernel makes again knows the remembered id only, and where it gives the kernel's nothing may
// translate that. So the wait is made for them, before they run.
#pragma once

#include <cstdint>
#include <map>

#include "ids/boundary.hpp"
#include "snapshot/snapshot.hpp"
#include "tracee/remote.hpp"

namespace ckpt::snapshot {

/// Threads (indices in the record) and what their calls give: a remembered id, or the kernel's
/// where a translation follows. The process has the translation `boundary`; its main thread runs
/// calls.
std::map<std::size_t, std::int64_t> answer_waits(const Snapshot& snapshot,
                                                 const ids::FoundBoundary& boundary,
                                                 tracee::Inferior& inferior);

/// Has a thread go on behind its call.
void give_answer(state::ThreadState& thread, std::int64_t answer);

}  // namespace ckpt::snapshot
