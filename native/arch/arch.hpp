// What the rest of the tree knows of the processor's architecture: registers by what they are for,
// the bytes of a few instructions, system calls that not every architecture has, and constants of
// the kernel and of ELF. What stands here is for every architecture the same; the directory of the
// one that is built for has it.
//
// Each architecture provides, in ARCH/registers.hpp, the type Registers, and in ARCH/constants.hpp
// what is declared by name alone where it is used. Longer things have headers of their own beside
// this one. Nothing outside native/arch/ includes a header of a directory below it
// (tests/unit/python/test_layering.py).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/types.hpp"

namespace ckpt::arch {

/// What stands for the number of a system call that the architecture does not have: the kernel's
/// answer is ENOSYS. No table of system calls goes that far.
inline constexpr int kNoSyscall = 0xffff;

}  // namespace ckpt::arch

#if defined(__x86_64__)
#include "arch/x86_64/constants.hpp"
#include "arch/x86_64/registers.hpp"
#elif defined(__aarch64__)
#include "arch/aarch64/constants.hpp"
#include "arch/aarch64/registers.hpp"
#else
#error "native/arch has no directory for this architecture"
#endif

namespace ckpt::arch {

// -- registers of a stopped thread --

/// General registers of a stopped thread. Throws Error.
Registers get_registers(Tid tid);
void set_registers(Tid tid, const Registers& registers);

/// The names of all registers, as the record and core files have them.
std::span<const std::string_view> register_names();
/// `index`: of register_names().
Word get_register(const Registers& registers, std::size_t index);
void set_register(Registers& registers, std::size_t index, Word value);
/// Nothing if there is none of that name.
std::optional<std::size_t> register_index(std::string_view name);

/// The address to which a thread-local segment register of the program refers, by the number that
/// libthread_db gives it; nothing if there is no such segment.
std::optional<Addr> segment_base(const Registers& registers, int segment);

// -- registers by their numbers in DWARF --

/// The index in register_names() of one of the first kDwarfValues.
std::size_t dwarf_register(std::size_t number);
/// Whether functions keep it for their callers.
bool is_kept_for_caller(std::size_t number);

// -- instructions --

/// The number that a system call instruction finds loaded, if the last instruction that loads one
/// for which `is_wanted` holds is in `code`, which ends where the system call's instruction begins.
std::optional<std::uint32_t> last_number_loaded(std::span<const std::byte> code,
                                                bool (*is_wanted)(std::uint64_t number));
/// Whether a direct call ends where `code`, kDirectCallBytes, ends.
bool is_direct_call(std::span<const std::byte> code);

// -- the processor --

/// Whether a word of /proc/cpuinfo's line kProcessorFeatures stands for instructions that a program
/// may have chosen at its start (glibc picks its memcpy once), and that another processor refuses
/// or does something else for.
bool is_instruction_set(std::string_view flag);

}  // namespace ckpt::arch
