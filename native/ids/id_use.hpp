// Which values in a function of the C library's may be the id of the thread that runs it. A number
// that happens to equal the id is none: the operation of a futex call, a count, a flag.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tracee/memory.hpp"
#include "tracee/ptrace.hpp"

namespace ckpt::ids {

/// General registers, by DWARF's numbers.
using RegisterSet = std::array<bool, arch::kDwarfValues>;

/// Whether a function looks at its thread's id, which lies at `field` in the descriptor. Only then
/// it may have the id from elsewhere, too: what it reads of a lock is an id to it if it compares.
bool looks_at_id(std::span<const std::byte> code, std::uint32_t field);

/// Registers that hold no id because of the system call that a thread is in or about to make, or
/// has come out of last: its number or result, and arguments that are something else.
RegisterSet plain_arguments(const tracee::Registers& registers, const tracee::Memory& memory);

}  // namespace ckpt::ids
