// What of the machine a restored program depends on: the kernel's vdso and the processor's
// features. Looked up at the save, compared at the restore.
#pragma once

#include <string>
#include <vector>

#include "image/format.hpp"
#include "image/reader.hpp"
#include "state/address_space.hpp"

namespace ckpt::snapshot {

/// Kernel, host name, boot id, processor features of this machine.
image::Json describe_machine();

/// Throws Error (unsupported) naming what this machine lacks or has different.
void check_machine(const image::Json& saved, const image::Reader& reader,
                   const state::AddressSpace& space);

}  // namespace ckpt::snapshot
