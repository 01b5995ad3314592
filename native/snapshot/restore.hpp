// One restore. transplant() makes a process and puts the saved state into it, all but the last
// registers: every thread waits in a scratch page, where a debugger may attach. finish() gives the
// threads the state they had; the tracer of that moment calls it (finish.cpp).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/types.hpp"
#include "libc/owners.hpp"
#include "snapshot/snapshot.hpp"

namespace ckpt::snapshot {

enum class IdMode {
  automatic,  // the saved ids if the kernel grants them, else new ones
  saved,
  fresh,
};

/// Throws Error (refused) when this user cannot have the ids asked for, whatever the snapshot.
void check_ids(IdMode ids);

struct TransplantOptions {
  IdMode ids = IdMode::automatic;
  state::ClockMode clock = state::ClockMode::automatic;
  bool own_process_group = false;
  /// Queue signals that a debugger held at the save: they would not be delivered otherwise.
  bool queue_held_signals = false;
  /// The debugger that will attach numbers the threads from the one created last to the oldest, the
  /// main thread apart: create them such that its numbers come out in the order of the record.
  bool numbered_newest_first = false;
};

struct Transplanted {
  Tid pid = 0;
  std::vector<Tid> tids;  // in the order of the record
  bool ids_kept = false;
  std::vector<std::string> notes;
  std::vector<libc::MovedLock> locks;  // see RenewedIds
  state::SilentPeers peers;            // to be served by the process that waits for its end
};

/// Makes the process; the calling thread is its tracer and parent. Throws Error with nothing left.
Transplanted transplant(const Snapshot& snapshot, state::FileSource& files,
                        const TransplantOptions& options);

/// What is left of the scratch area's data while the threads are parked, for finish(): the process
/// may be at its limit of memory by then.
inline constexpr std::uint64_t kParkedDataBytes = 16 * kPageSize;

/// Lets go of parked threads, so that a debugger can attach.
void release(const Transplanted& transplanted);

struct Held {
  Tid tid = 0;
  int signal = 0;
};

/// Gives every thread of a transplanted process its final state and removes the scratch page.
/// `tids`: as transplant() returned them. Precondition: all threads are stopped and traced by the
/// calling thread. Returns signals that a debugger held at the save and is to deliver again (their
/// siginfo is in place).
std::vector<Held> finish(const Snapshot& snapshot, const std::vector<Tid>& tids);

/// Makes the process die with its tracer, with the options that GDB sets on what it traces (the
/// options are write-only, so all of them must be known). Precondition as for finish().
void kill_with_tracer(Tid pid);

}  // namespace ckpt::snapshot
