// What the programs print.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ckpt {

/// "1.2 MiB", "640 KiB", "12 B".
std::string size_text(std::uint64_t size_bytes);

/// `text` with what could drive the terminal shown: "\n", "\x1b", and "\xff" for a byte that is no
/// UTF-8. Names of files and of threads may hold anything.
std::string printable(std::string_view text);

}  // namespace ckpt
