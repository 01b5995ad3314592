// Thread and process ids over a save and a restore: what the program remembers, what the kernel
// gave, and everything that must be told of the difference.
#pragma once

#include <string>
#include <vector>

#include "ids/boundary.hpp"
#include "libc/owners.hpp"
#include "snapshot/snapshot.hpp"
#include "tracee/remote.hpp"

namespace ckpt::snapshot {

/// For a save: hides what an earlier restore put into the process, after every thread has left that
/// code (a thread stopped in it is run on by some instructions). Nothing if there is none. All
/// threads are stopped and traced by the caller.
std::optional<ids::FoundBoundary> hide_boundary(state::CaptureContext& context);

/// For a save, after hide_boundary(): threads that are at an instruction of the library's which has
/// been moved, now or after a handler, are at the library's own in the snapshot.
void return_to_library(state::CaptureContext& context,
                       const std::optional<ids::FoundBoundary>& boundary,
                       const state::SignalState& signals, std::vector<state::ThreadState>& threads);

/// For a save: fills in which ids the program remembers, and what a restore with new ids must know
/// of where the threads are; reports what it will not be able to do.
void note_ids(state::CaptureContext& context, const state::KeptFile& program,
              const state::AddressSpace& space, const std::optional<ids::FoundBoundary>& boundary,
              const state::SignalState& signals, std::vector<state::ThreadState>& threads,
              state::ProcessState& process, std::vector<state::EndedChild>& children);

/// The ids of a process just made, as far as the kernel knows them.
struct FreshIds {
  state::ProcessIds process;
  std::vector<Tid> tids;      // in the order of the record
  std::vector<Tid> children;  // that have ended, likewise
};

/// For a restore: whether all threads have the ids that the program remembers.
bool ids_kept(const Snapshot& snapshot, const FreshIds& fresh);

/// For a restore: moves the owners of held locks, and puts a translation of the remembered ids in
/// front of the C library. Memory is filled, no thread runs. Returns the locks that nothing but
/// their structure tells to be some.
std::vector<libc::MovedLock> renew_ids(const Snapshot& snapshot, state::FileSource& files,
                                       state::RestoreContext& inferior, const FreshIds& fresh);

/// The threads' ids in the snapshot, and what they are now. `tids`: in the order of the record.
libc::IdMap changed_ids(const Snapshot& snapshot, const std::vector<Tid>& tids);

/// For a restore: the contrary of return_to_library(), for a thread's own registers.
void enter_stub(state::ThreadState& thread, const std::optional<ids::FoundBoundary>& boundary);

/// For a restore: copies of ids that the C library has in the middle of its functions become the
/// new ones, in `thread`'s registers and in memory; so does the clock of a sleep that goes on.
void renew_copies(state::ThreadState& thread, const tracee::Memory& memory, const libc::IdMap& ids);

}  // namespace ckpt::snapshot
