// What other processes have, too, of what comes back as the program's own: shared memory, pipes,
// sockets. Nothing that the kernel tells of the program alone shows it; the others must be looked
// into.
#pragma once

#include "state/context.hpp"
#include "state/descriptors/descriptors.hpp"
#include "state/memory/address_space.hpp"

namespace ckpt::state {

/// Names in the report what is shared with others, and with whom. Looks at other processes only if
/// the program has something that could be shared; those of other users only as root.
void report_sharers(CaptureContext& context, const DescriptorTable& table,
                    const AddressSpace& space);

}  // namespace ckpt::state
