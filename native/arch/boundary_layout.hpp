// The page of translation that ids/boundary.cpp puts into a process with new ids: what its code
// (boundary_code.cpp of the architecture) and the installer must agree on.
//
//   +0        BoundaryHeader, writable: the code changes it when the program changes its group
//   +4 KiB    the code, then one trampoline for each Original, then stubs for calls that were under
//             way (ids/flights.hpp), then those behind system calls (ids/result_sites.hpp);
//             readable and executable
//   ...       IdPair[pairs], CodeRange[ranges], BoundaryPatch[patches]; readable
//   ...       Flight[flights], MovedCode[moved]; writable
//
// The whole lies at a multiple of kBoundaryAlignment, so that the code finds the header from its
// own address, wherever it was copied to.
//
// Includes nothing of a library's: the code is compiled for general registers only.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ckpt::arch {

inline constexpr std::uint64_t kBoundaryMagic = 0x33736469'74706b63;  // "ckptids3"
inline constexpr std::uint64_t kBoundaryAlignment = 0x10000;
inline constexpr std::uint64_t kBoundaryCodeAt = 0x1000;

/// What fits into the header's page.
inline constexpr std::size_t kMostBoundaryChildren = 460;

/// No kernel id is as large (PID_MAX_LIMIT): what a new thread shows whose id the program remembers
/// as another process's.
inline constexpr std::int32_t kAliasBase = 1 << 22;

/// An id as the program remembers it, and the kernel's.
struct IdPair {
  std::int32_t remembered;
  std::int32_t real;
};

/// The room for the stubs behind system calls, and how many of them there can be.
inline constexpr std::size_t kResultStubsBytes = 0x1000;
inline constexpr std::size_t kMostResultStubs = 32;

struct CodeRange {
  std::uint64_t begin;
  std::uint64_t end;
};

/// Where the C library was changed, and what stood there.
struct BoundaryPatch {
  std::uint64_t address;
  std::uint8_t original[8];  // the first kPatchBytes of them; NOLINT(modernize-avoid-c-arrays)
};

/// A call with ids that the program remembers was under way at the save, and its system call is
/// still to be made.
struct Flight {
  std::uint64_t call;     // address of the `syscall` instruction in the stub
  std::uint64_t stack;    // the stack pointer at the save
  std::uint64_t thread;   // the thread's FS base
  std::uint64_t pending;  // 0: has been made
};
inline constexpr std::uint64_t kPending = 1;
/// Behind the stub's `syscall` stands a jump to the translation of the result (result_sites.hpp).
inline constexpr std::uint64_t kLeadsOn = 2;

/// How far from there the stack pointer may be at the system call: frames of these functions are
/// smaller, and that of a signal handler lies beyond it.
inline constexpr std::uint64_t kFlightBytes = 640;
[[gnu::always_inline]] inline constexpr bool is_as_deep(std::uint64_t at_save, std::uint64_t now) {
  return (at_save > now ? at_save - now : now - at_save) < kFlightBytes;
}

/// A stub: the address of its `syscall` instruction into rcx, a jump to the code, the instruction.
inline constexpr std::size_t kStubCallAt = 12;

/// An instruction of the library's that has been moved. Nothing has happened between there and
/// here.
struct MovedCode {
  std::uint64_t at;
  std::uint64_t original;
};

/// Functions that are gone on with: what the translation does not concern, or what may block.
enum Original : std::uint8_t {
  kSyscall,
  kIoctl,
  kFcntl,
  kWait4,
  kWaitid,
  kClockGettime,
  kClockGetres,
  kClockNanosleep,
  kTimerCreate,
  kThreadClock,
  kFirstOriginals,
  kSendmsg = kFirstOriginals,  // from here on in BoundaryHeader::more_originals
  kSendmmsg,
  kOriginals
};

// NOLINTBEGIN(modernize-avoid-c-arrays): plain data shared with code that has no library
struct BoundaryHeader {
  std::uint64_t magic;
  std::uint64_t self;  // its own address
  std::uint64_t originals[kFirstOriginals];
  std::uint64_t errno_location;  // address of the function __errno_location; 0 if there is none,
  std::int64_t errno_offset;     // then errno is at this offset from the FS base
  IdPair group;                  // the process group and session at the save; 0, 0 for none
  IdPair session;
  std::uint64_t pairs_at;  // addresses and counts of the tables
  std::uint64_t ranges_at;
  std::uint64_t patches_at;
  std::uint32_t pairs;
  std::uint32_t ranges;
  std::uint32_t patches;
  std::uint32_t bytes;     // of the whole mapping
  std::uint8_t calls[64];  // a bit for each system call number that is translated
  std::uint64_t flights_at;
  std::uint32_t flights;
  std::uint32_t moved;  // a table behind that of the flights
  // Children that had ended at the save; `real` is negative once they have been waited for, and the
  // kernel may give their ids to others: they are here, where the code may write.
  std::uint32_t children;
  std::uint32_t children_left;
  IdPair child[kMostBoundaryChildren];
  std::uint64_t more_originals[kOriginals - kFirstOriginals];
  // Whether the ids of new processes are translated where they are made and waited for.
  std::uint32_t translates_results;
};
// NOLINTEND(modernize-avoid-c-arrays)
static_assert(sizeof(BoundaryHeader) <= kBoundaryCodeAt);

}  // namespace ckpt::arch
