// What each system call of the architecture does to the memory of the process that makes it, and
// which calls a recording cannot follow. Numbers differ between architectures, and so does the
// table; how its rules are applied is in recording/effects.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "arch/arch.hpp"

namespace ckpt::arch {

/// How many bytes the kernel writes at a pointer.
enum class OutputSize : std::uint8_t {
  none,
  fixed,        // `unit`
  result,       // the call's result times `unit`, of a call that has succeeded
  argument,     // argument `other` times `unit`
  bits,         // argument `other` in bits, in whole words of 64
  pages,        // a byte for each page of argument `other`
  vector,       // an array of iovec, argument `other` of them; as many bytes as the result says
  pointed,      // what the length at argument `other` says, and the length
  message,      // a msghdr, and what it refers to
  messages,     // as many mmsghdr as the result says, and what they refer to
  sized_header  // the length in the first four bytes, behind a header of `unit` bytes
};

/// Memory that a call may change: what is there when it ends is recorded, whether the kernel has
/// written all of it or not.
struct Output {
  std::uint8_t pointer = 0;  // the argument with the address
  OutputSize size = OutputSize::none;
  std::uint32_t unit = 1;
  std::uint8_t other = 0;  // another argument
};

enum class Handling : std::uint8_t {
  plain,        // answered in a replay
  memory,       // carried out in a replay, too
  create,       // makes a thread or a process
  end_thread,   // exit
  end_process,  // exit_group
  sigreturn,    // sets all registers
  absent,       // answered ENOSYS, in the recording as well
  by_argument,  // an argument decides what it does: see recording/requests.hpp
  refuse        // a recording ends before it
};

/// Calls that need more than the table says, named for all architectures.
enum class Special : std::uint8_t {
  none,
  mmap,
  munmap,
  mprotect,
  brk,
  mremap,
  madvise,
  ioctl,
  fcntl,
  prctl,
  arch_prctl,
  seccomp,
  semctl,
  set_tid_address,
  yield,
  clone,
  clone3,
  fork,
  vfork
};

struct SyscallRule {
  int number = 0;
  std::string_view name;
  Handling handling = Handling::plain;
  Special special = Special::none;
  std::array<Output, 4> outputs{};
  std::string_view reason{};  // why it is refused
};

/// Nothing for a number that is no system call known here.
const SyscallRule* syscall_rule(Word number);
/// All rules, ascending by number.
std::span<const SyscallRule> syscall_rules();

/// Whether the system call at whose entry a thread is was made by code of the architecture's own
/// kind: not through the gate for 32-bit code.
bool is_native_call(const Registers& registers);

inline constexpr std::size_t kCallArguments = 6;

/// How the kernel names a thread's memory calls when a replay makes them.
struct MemoryCalls {
  int mmap, munmap, mprotect, brk, mremap, madvise;
};
MemoryCalls memory_calls();
/// clone() as a replay makes a copy of its process with.
int clone_call();

/// ptrace requests for a task whose system calls are not carried out.
int emulate_calls_request();
int emulate_calls_step_request();

/// Index of the first register (register_names()) that differs in a way that a program can see;
/// nothing if none does. `at_call`: both are at a system call's entry.
std::optional<std::size_t> first_difference(const Registers& expected, const Registers& found,
                                            bool at_call);
/// Without what single-stepping leaves in the flags and in copies of them.
void clear_traces_of_stepping(Registers& registers);

/// What the kernel does to the registers when a call returns that changes nothing but its result.
Registers after_call(const Registers& at_entry, std::int64_t result);
/// Before the instruction of the call at whose entry `registers` are.
Registers before_call(const Registers& at_entry);

/// Whether the instruction at the begin of `code` shows a program that it is single-stepped.
bool shows_stepping(std::span<const std::byte> code);
/// Hides it, at the top of the stack behind such an instruction.
inline constexpr std::size_t kPushedFlagsBytes = 2;
void clear_pushed_stepping(std::span<std::byte, kPushedFlagsBytes> flags);
/// Whether the instruction at the begin of `code` repeats itself, with the program counter on it.
bool is_repeating(std::span<const std::byte> code);

}  // namespace ckpt::arch
