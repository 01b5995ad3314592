// Lengths of x86-64 instructions, and where control goes on behind them: as much as the C library's
// functions around system calls need. Vector instructions with VEX or EVEX prefixes are not known.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/types.hpp"

namespace ckpt::ids {

enum class Flow : std::uint8_t {
  next,           // only what follows
  system_call,    // `syscall`
  branch,         // what follows, or `target`
  jump,           // `target`
  call,           // `target`, and then what follows
  indirect_call,  // somewhere, and then what follows
  indirect_jump,  // somewhere
  end             // returns to the caller, or goes no further
};

struct Instruction {
  std::size_t length = 0;
  Flow flow = Flow::next;
  std::int64_t distance = 0;  // of a target, from the instruction's end
  // Where in it a distance of four bytes from its end stands: of a target, or of memory; 0: none.
  std::size_t distance_at = 0;
  bool is_short = false;  // a target's distance has one byte
  bool is_return = false;
};

/// The instruction at the begin of `code`; nothing if it is not known or not whole.
std::optional<Instruction> decode(std::span<const std::byte> code);

/// What can be reached within a function.
struct Reached {
  std::vector<Addr> calls;    // `syscall` instructions
  std::vector<Addr> callees;  // functions that are called by their address
};

/// From `from` on in the function at `begin`, whose bytes are `code`. Nothing when some instruction
/// on the way is not known.
std::optional<Reached> reach(std::span<const std::byte> code, Addr begin, Addr from);

/// Whether an instruction of the function has a target within ]`first`, `end`[.
bool has_target_within(std::span<const std::byte> code, Addr begin, Addr first, Addr end);

/// Whether there are only instructions that do nothing.
bool is_padding(std::span<const std::byte> code);

/// Instructions made to run at another address.
struct MovedRun {
  std::vector<std::byte> bytes;  // a jump to what follows them is the last, if anything does
  std::size_t original_bytes = 0;
  struct Place {
    std::size_t original;  // offsets of an instruction, there and here
    std::size_t moved;
  };
  std::vector<Place> places;
};

/// Moves instructions from the begin of `code`, which lies at `from`, until they are `least` bytes.
/// Nothing if that cannot be done.
std::optional<MovedRun> move_run(std::span<const std::byte> code, Addr from, Addr to,
                                 std::size_t least);

}  // namespace ckpt::ids
