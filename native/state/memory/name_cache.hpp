// The caches of nscd, which glibc maps into every program that looks up users or hosts while that
// daemon runs. They age and the daemon may be another one, or none, at a restore. So the mapping
// comes back with what it held, which a look-up in progress may be reading, and marked as out of
// date: at the next one glibc asks the daemon again, or does without.
#pragma once

#include "proc/maps.hpp"
#include "state/memory/address_space.hpp"
#include "tracee/memory.hpp"

namespace ckpt::state {

bool is_name_cache(const proc::Mapping& mapping);

/// Marks the caches in restored memory. Precondition: it is filled, and not yet read-only.
void expire_name_caches(const tracee::Memory& memory, const AddressSpace& space);

}  // namespace ckpt::state
