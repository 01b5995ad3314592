// The few instructions that run inside the inferior on our behalf. They use no stack and no memory
// but the table they are given, so they run in any thread in any state.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "arch/arch.hpp"
#include "base/types.hpp"

namespace ckpt::arch {

/// One row of the table that the loop works through: a system call and its result.
struct LoopEntry {
  std::uint64_t number = 0;
  std::uint64_t arguments[6] = {};  // NOLINT(modernize-avoid-c-arrays): shared with assembly
  std::int64_t result = 0;
};
static_assert(sizeof(LoopEntry) == 64);

/// The code, position independent. Offsets of its entry points follow.
std::span<const std::byte> loop_code() noexcept;

/// What a thread that enters the loop is told in its registers.
struct LoopRun {
  Addr table;
  std::uint64_t rows = 0;
  Tid group = 0;  // its thread group and itself, as the process itself sees them
  Tid thread = 0;
  bool stop_at_failure = false;  // ends at the first row that fails
  int signal = 0;                // that ends the run
};
/// Sets the registers of a thread to begin at `entry`, one of the entry points.
void enter_loop(Registers& registers, Addr entry, const LoopRun& run);

/// Runs the table. Ends with the thread sending itself the signal: the tracer sees a
/// signal-delivery stop at loop_end_offset(). If there is no tracer any more, the thread goes on
/// from there to where the frame at its stack pointer leads (see way_back.hpp).
std::size_t loop_run_offset() noexcept;
/// Touches the AMX tile state, so that the kernel makes room for it. The table is
/// tile_configuration(), without rows. Ends as a run does. Throws Error (unsupported) where there
/// is no such state.
std::size_t loop_tiles_offset();
/// The least that is a configuration of tiles.
std::array<std::byte, 64> tile_configuration();
std::size_t loop_end_offset() noexcept;
/// The instruction of a system call, for calls that are made one by one.
std::size_t loop_syscall_offset() noexcept;
/// The instruction of a system call, for one call, behind which the thread would go back, too.
std::size_t loop_once_offset() noexcept;
/// That call and the way back, by themselves; position independent as well.
std::span<const std::byte> back_code() noexcept;
/// Waits in pause() for ever. The safe place for a thread that a debugger is about to attach to.
std::size_t loop_park_offset() noexcept;

}  // namespace ckpt::arch
