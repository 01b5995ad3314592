// Where the instructions of a function begin and where its branches lead: enough of x86-64 to walk
// through the C library's code, and not to guess where it meets something else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace ckpt::threads {

struct Instruction {
  std::size_t length = 0;
  std::optional<std::int32_t> branch;  // relative to the end of the instruction; calls included
};

/// The instruction at the begin of `code`; nothing for what is invalid, cut off or of an extension
/// with an encoding of its own (VEX, EVEX).
std::optional<Instruction> decode(std::span<const std::byte> code);

}  // namespace ckpt::threads
