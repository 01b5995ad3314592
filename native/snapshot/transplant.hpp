// The steps of a restore, from the files that are opened to threads that wait to be let go.
#pragma once

#include "snapshot/restore.hpp"

namespace ckpt::snapshot {

/// One attempt of transplant(), with the saved ids or with new ones. Throws Error, and leaves
/// nothing behind; throws IdRefused for an id that cannot be had, NoHugePages for a file whose
/// pages there are too few of.
Transplanted transplant_once(const Snapshot& snapshot, state::FileSource& files,
                             const TransplantOptions& options, bool keep_ids);

}  // namespace ckpt::snapshot
