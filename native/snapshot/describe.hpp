// A snapshot's record as people and scripts see it: plain JSON, no bytes, stable names.
#pragma once

#include "image/reader.hpp"

namespace ckpt::snapshot {

/// The record with every key that it may have in files of this version, but the extents. Throws
/// Error (damaged) for what a restore would not take.
image::Json checked_record(const image::Reader& reader);

/// Throws as checked_record().
image::Json describe(const image::Reader& reader);

}  // namespace ckpt::snapshot
