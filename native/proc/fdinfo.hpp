// /proc/PID/fdinfo/N (proc(5)).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::proc {

struct FdInfo {
  std::uint64_t position_bytes = 0;
  std::uint32_t flags = 0;         // O_* status flags, and O_CLOEXEC for the descriptor
  std::vector<std::string> locks;  // "lock:" lines as they are
  std::string text;                // the whole, for what only some kinds of files show
};

/// Parses fdinfo text. Throws Error (unsupported).
FdInfo parse_fdinfo(std::string_view text);

}  // namespace ckpt::proc
