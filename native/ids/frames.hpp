// Which copies of ids are the C library's own, when a thread has stopped in the middle of functions
// for locks, or of functions that ask the kernel for ids themselves: they are in registers that
// these functions use, and in their stack frames. Registers that a function keeps for its caller,
// and the places where it has saved those, hold the program's values.
//
// Which is which at an instruction stands in the library's .eh_frame, from which debuggers and
// exceptions unwind (System V ABI, x86-64 supplement, 4.2.4; DWARF 5, 6.4).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/types.hpp"
#include "libc/library.hpp"
#include "tracee/memory.hpp"
#include "tracee/ptrace.hpp"

namespace ckpt::ids {

/// At one instruction: where the caller's frame begins, from a register, and where the caller's
/// registers are saved, from there.
struct FrameRules {
  Addr begin;  // of the function
  std::uint64_t size_bytes = 0;
  std::size_t base_register = 0;
  std::int64_t base_offset = 0;
  std::array<std::optional<std::int64_t>, arch::kDwarfColumns> saved;
};

/// A .eh_frame section as it lies in a process.
class FrameTable {
 public:
  FrameTable(std::vector<std::byte> section, Addr address)
      : section_(std::move(section)), address_(address) {}
  /// Nothing where there is none, or one that says more than the above can hold.
  [[nodiscard]] std::optional<FrameRules> find(Addr instruction) const;

 private:
  std::vector<std::byte> section_;
  Addr address_;
};

/// The tables of a program's C library, read when they are first needed.
class Frames {
 public:
  explicit Frames(const libc::Library& library) : library_(library) {}
  std::optional<FrameRules> find(Addr instruction);

 private:
  const libc::Library& library_;
  bool read_ = false;
  std::vector<FrameTable> tables_;
  std::unordered_map<std::uint64_t, std::optional<FrameRules>> known_;
};

/// A function in which a thread is, or which has called the one before.
struct Frame {
  Addr at;     // its next instruction
  Addr stack;  // the stack pointer there
  Addr end;    // where its caller's frame begins
  Addr back;   // the address to which it returns
  FrameRules rules;
  // Of it and of all those that it has called: registers whose caller's value is on the stack, and
  // where that is.
  std::array<bool, arch::kDwarfColumns> used{};
  std::array<Addr, arch::kDwarfColumns> program_at;

  /// An address within the instruction that it executes, or has executed last.
  [[nodiscard]] Addr lookup(std::size_t depth) const { return depth == 0 ? at : at - 1; }
};

/// The frames of a stopped thread from the innermost one on, as far as code of the library is
/// described, and no more than some.
std::vector<Frame> walk_frames(const tracee::Registers& registers, const tracee::Memory& memory,
                               Frames& frames);

struct OwnCopies {
  std::vector<std::string> registers;  // as struct user_regs_struct names them
  std::vector<Addr> words;             // of four bytes each
};

/// An id, and where functions find it in their thread's descriptor, if that is known.
struct OwnId {
  Tid id = 0;
  std::optional<std::uint32_t> field;
};

/// Where lock functions have copies of their thread's id in a thread that is stopped in one of
/// them. Where their frames are not described, only registers that no function keeps for its caller
/// are looked at.
OwnCopies find_own_copies(const tracee::Registers& registers, const tracee::Memory& memory,
                          const libc::Library& library, Frames& frames, OwnId own);

/// Where functions that ask for ids for the library itself have copies of any of `ids`, and those
/// for clocks have clocks of them, in a thread that is stopped in one of these functions or in one
/// that they have called.
OwnCopies find_asked_copies(const tracee::Registers& registers, const tracee::Memory& memory,
                            const libc::Library& library, Frames& frames, const std::set<Tid>& ids);

/// The general register of that name, as arch::get_register() takes it; nothing: there is none.
std::optional<std::size_t> general_register(std::string_view name);
/// The name of the one that has argument 0 to 5 of a system call.
std::string name_of_argument(std::size_t n);

/// The id of the process or thread whose CPU time a clock counts; 0: another kind of clock.
Tid id_of_clock(std::uint64_t clock);

}  // namespace ckpt::ids
