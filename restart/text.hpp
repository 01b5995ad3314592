// What the programs print.
#pragma once

#include <cstdint>
#include <string>

namespace ckpt {

/// "1.2 MiB", "640 KiB", "12 B".
std::string size_text(std::uint64_t size_bytes);

}  // namespace ckpt
