// A snapshot's record as people and scripts see it: plain JSON, no bytes, stable names.
#pragma once

#include "image/reader.hpp"

namespace ckpt::snapshot {

/// Throws Error (damaged) for a record that lacks something.
image::Json describe(const image::Reader& reader);

}  // namespace ckpt::snapshot
