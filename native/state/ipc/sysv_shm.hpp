// System V shared memory (shmget(2), shmat(2)): segments that the process has attached.
//
// A restored program gets segments of its own, with the saved content, that go away with it: what
// other processes have made of the real ones meanwhile is theirs. The id, which the program may use
// again, is the saved one where the kernel lets the restoring user choose it; if it is taken
// by then, in an IPC namespace (sysv_ipc.hpp).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "image/fields.hpp"
#include "proc/maps.hpp"
#include "state/context.hpp"
#include "tracee/remote.hpp"

namespace ckpt::state {

struct SysvSegment {
  int id = 0;
  std::uint64_t size_bytes = 0;
  std::uint32_t mode = 0;
  int key = 0;          // IPC_PRIVATE if it cannot be found
  bool removed = true;  // goes away when it is detached everywhere
};

/// The segment that a mapping belongs to; nothing when it is none, or one of another IPC namespace.
/// Reports what of it does not come back, once for each segment.
std::optional<SysvSegment> look_at_segment(CaptureContext& context, const proc::Mapping& mapping);

const image::Fields<SysvSegment>& fields_of(const SysvSegment* /*type*/);

/// Whether any process may ask for it by its key.
bool is_found_by_key(const SysvSegment& segment);
/// Whether its id is taken.
bool is_taken(const SysvSegment& segment);

/// Makes a segment and attaches it to the program, at a free place. It has its key where the
/// program has an IPC namespace of its own, and else goes away with the program.
void attach_segment(RestoreContext& inferior, const SysvSegment& segment, Addr place);

}  // namespace ckpt::state
