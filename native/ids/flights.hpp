// Calls with ids that are under way at a save: a thread has passed the entry of one of the
// functions that a restore with new ids changes (boundary.hpp), and the system call with the
// remembered id, or for one, is still to come.
//
// Such a `syscall` instruction is replaced by a jump to a stub, which has the call translated once,
// for that thread at that depth of its stack (boundary_flights.cpp), and makes all others as they
// are. Only instructions that a thread is about to reach are replaced. A thread that stands within
// replaced instructions goes on in the stub's copy of them.
//
// Functions that use ids for the library itself, and those that are only given a clock, are none of
// these: their copies of ids are changed (frames.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "arch/boundary_layout.hpp"
#include "base/types.hpp"
#include "ids/frames.hpp"
#include "libc/library.hpp"
#include "tracee/memory.hpp"
#include "tracee/ptrace.hpp"

namespace ckpt::ids {

/// Where a thread goes on: now, or when a signal handler returns.
struct Stopped {
  Tid tid = 0;  // as the program remembers it
  tracee::Registers registers{};
  std::uint64_t thread = 0;  // FS base
  Addr counter_at;           // where the program counter is saved on the stack; 0: in no memory
};

/// Instructions that are replaced, or that a thread stands within.
struct PlannedStub {
  Addr from;
  bool is_call = false;         // the first is `syscall`
  std::vector<std::byte> code;  // from there on
  std::size_t least = 0;        // bytes that are replaced
};

struct PlannedFlight {
  std::size_t stub = 0;
  std::uint64_t stack = 0;
  std::uint64_t thread = 0;
};

struct FlightPlan {
  std::vector<PlannedStub> stubs;
  std::vector<PlannedFlight> flights;
  std::size_t places = 0;          // instructions in all stubs
  std::vector<std::string> notes;  // what cannot be done

  /// Whether a thread that stands at `counter`, within what is replaced at `from`, can go on.
  [[nodiscard]] bool covers(Addr counter, Addr from) const;
  /// Whether what stands at `site`, right behind a `syscall`, is in a stub.
  [[nodiscard]] bool replaces(Addr site) const;
};

/// Memory is filled, no thread runs, and the library's code is its own.
FlightPlan plan_flights(const tracee::Memory& memory, const libc::Library& library, Frames& frames,
                        std::span<const Stopped> stopped);

/// A stub made to run at `to`, with the addresses of its instructions; `flight_code`: the code's
/// entry for stubs. Nothing if it is out of reach.
struct MadeStub {
  std::vector<std::byte> bytes;
  std::vector<arch::MovedCode> moved;
};
std::optional<MadeStub> make_stub(const PlannedStub& planned, Addr to, Addr flight_code,
                                  std::optional<Addr> result = std::nullopt);

/// The most bytes that one takes.
inline constexpr std::size_t kStubBytes = 96;

/// Where a thread at `counter` goes on: itself unless it is within one of `patches`. `calls_again`:
/// it stands behind a `syscall` that the kernel makes again, which must stand before that place,
/// too; else it has its result, which is not translated.
Addr place_beside(Addr counter, std::span<const arch::BoundaryPatch> patches,
                  std::span<const arch::MovedCode> moved, bool calls_again = false);
/// The library's own instruction for one of a stub's; nothing for others.
std::optional<Addr> original_place(Addr counter, std::span<const arch::MovedCode> moved);

}  // namespace ckpt::ids
