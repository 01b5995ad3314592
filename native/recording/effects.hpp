// What a system call has written into the process's memory, by the rules of arch/syscall_rules.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "arch/syscall_rules.hpp"
#include "recording/event.hpp"
#include "tracee/memory.hpp"

namespace ckpt::recording {

/// What may have been written by a call that was entered with `entry` and has that result. Memory
/// that cannot be read was not written.
std::vector<Write> effects(const tracee::Memory& memory, const arch::SyscallRule& rule,
                           const arch::Registers& entry, std::int64_t result);

/// What is at `at` now, as far as it can be read.
Write memory_now(const tracee::Memory& memory, Addr at, std::uint64_t size_bytes);

/// Why a call cannot be recorded, judged by its arguments; nothing if it can.
std::optional<std::string> why_refused(const arch::SyscallRule& rule, const arch::Registers& entry);

}  // namespace ckpt::recording
