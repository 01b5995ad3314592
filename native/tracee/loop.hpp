// The few instructions that run inside the inferior on our behalf. They use no stack and no memory
// but the table they are given, so they run in any thread in any state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>

namespace ckpt::tracee {

/// One row of the table that the loop works through: a system call and its result.
struct LoopEntry {
  std::uint64_t number = 0;
  std::uint64_t arguments[6] = {};  // NOLINT(modernize-avoid-c-arrays): shared with assembly
  std::int64_t result = 0;
};
static_assert(sizeof(LoopEntry) == 64);

/// A row for a system call with up to six arguments.
LoopEntry loop_entry(long number, std::initializer_list<std::uint64_t> arguments);

/// The code, position independent. Offsets of its entry points follow.
std::span<const std::byte> loop_code() noexcept;

/// Runs the table. rbx = table, r12 = rows, r13 = thread group id, r14 = thread id (both as the
/// process itself sees them), r15 = 1 to end at the first row that fails. Ends with the thread
/// sending itself the signal in rbp: the tracer sees a signal-delivery stop at loop_end_offset().
/// If there is no tracer any more, the thread goes on from there to where the frame at rsp leads
/// (see way_back.hpp).
std::size_t loop_run_offset() noexcept;
/// Touches the AMX tile state, so that the kernel makes room for it. rbx = a tile configuration of
/// 64 bytes; r13, r14 as above. Ends as a run does.
std::size_t loop_tiles_offset() noexcept;
std::size_t loop_end_offset() noexcept;
/// A `syscall` instruction, for calls that are made one by one.
std::size_t loop_syscall_offset() noexcept;
/// A `syscall` instruction, for one call, behind which the thread would go back, too.
std::size_t loop_once_offset() noexcept;
/// That call and the way back, by themselves; position independent as well.
std::span<const std::byte> back_code() noexcept;
/// Waits in pause() for ever. The safe place for a thread that a debugger is about to attach to.
std::size_t loop_park_offset() noexcept;

}  // namespace ckpt::tracee
