// Records of earlier format versions, in the form of the present one: nothing but this knows them.
#pragma once

#include <cstdint>

#include "image/format.hpp"

namespace ckpt::image {

/// Whether the record of a snapshot of that version can be read.
bool is_known_version(std::uint32_t version);

/// Gives a record of that version the present form. Throws Error (damaged), Json::exception.
void upgrade_record(Json& record, std::uint32_t version);

}  // namespace ckpt::image
