// Instructions of a program: how long they are, and where control goes on behind them; those that
// load numbers of system calls and make them; and how they are moved to other places, with jumps in
// their stead.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "arch/arch.hpp"
#include "base/types.hpp"

namespace ckpt::arch {

enum class Flow : std::uint8_t {
  next,           // only what follows
  system_call,    // the instruction for it
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
  std::vector<Addr> calls;    // instructions that make system calls
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

/// No run of instructions that a patch replaces is longer.
inline constexpr std::size_t kMostMovedBytes = 32;

/// The length of the instruction at the begin of `code`, if it may be run at another address:
/// nothing for calls, most jumps and whatever is not known. `displacement_at`: where in it a
/// distance from the program counter stands that must be adjusted, 0 for none. `is_short_jump`: a
/// conditional jump with a distance of one byte.
struct Movable {
  std::size_t length = 0;
  std::size_t displacement_at = 0;
  bool is_short_jump = false;
};
std::optional<Movable> movable_instruction(std::span<const std::byte> code);

/// A jump from one address to another, over less than two gigabytes.
std::array<std::byte, kPatchBytes> jump_to(Addr from, Addr to);

/// The instructions under a patch at `from`, made to run at `to`, and a jump to what follows them;
/// `moved_bytes` is how long they were. Nothing if they cannot be moved.
std::optional<std::vector<std::byte>> move_instructions(std::span<const std::byte> code, Addr from,
                                                        Addr to, std::size_t& moved_bytes);

/// An instruction that loads the number of a system call.
struct NumberLoad {
  std::int32_t number = 0;
  std::size_t length = 0;
};
/// The one at the begin of `code`; nothing if it is none. `any_form`: not only the shortest.
std::optional<NumberLoad> number_load(std::span<const std::byte> code, bool any_form);

/// Where system calls' instructions may begin: their bytes, whatever they are part of. Ascending.
std::vector<std::size_t> find_syscall_bytes(std::span<const std::byte> code);

/// What clone3() of C libraries begins with: the load of its number, the call, and more.
struct Clone3Code {
  std::span<const std::byte> bytes;
  std::size_t load_bytes = 0;  // of the load alone
  std::size_t call_bytes = 0;  // to behind the call
};
Clone3Code clone3_code();

/// The begin of the stub for a call that was under way: leads to `flight_code` with the address of
/// the system call's instruction, which is the stub's last.
std::vector<std::byte> flight_stub(Addr at, Addr flight_code);

/// The begin of a stub behind a system call: calls `translation`, and keeps clear of what a leaf
/// function may have below its stack pointer, and of all registers but those that the kernel has
/// changed.
std::vector<std::byte> result_stub(Addr at, Addr translation);

/// Makes code longer, up to `size`, with what no thread gets past.
void pad_code(std::vector<std::byte>& code, std::size_t size);

}  // namespace ckpt::arch
