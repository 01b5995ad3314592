// Kinds of descriptions that have a place in a file system, and those that come back as the
// restoring program's own streams.
#pragma once

#include "base/unique_fd.hpp"
#include "state/descriptors/descriptors.hpp"

namespace ckpt::state {

/// The restoring program's own stream that stands for a terminal or an outside stream.
int own_stream(const Description& description);
UniqueFd open_own_stream(const Description& description);

}  // namespace ckpt::state
