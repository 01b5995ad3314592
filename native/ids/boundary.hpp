// Ids that a program remembers, in a process where the kernel gave other ones.
//
// glibc, the kernel and debuggers go by struct pthread, which holds the kernel's ids (owners.hpp).
// The program itself may have stored what getpid() and its like told it before the save. So the
// entry points of the functions that take or give ids are made to lead through a translation
// (boundary_code.cpp), in this process's memory only: no library is preloaded, no file changed.
// The next snapshot of the process has the C library's own code back, and the remembered ids.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "arch/boundary_layout.hpp"
#include "libc/library.hpp"
#include "proc/maps.hpp"
#include "proc/process_dir.hpp"
#include "tracee/inferior.hpp"
#include "tracee/memory.hpp"

namespace ckpt::ids {

struct FlightPlan;

/// The C library among the objects, with the functions that matter to the translation.
libc::Library find_library(std::span<const libc::MappedObject> objects);

struct BoundaryIds {
  std::vector<arch::IdPair> pairs;  // the process itself first, then its threads and its parent
  arch::IdPair group{};
  arch::IdPair session{};
  std::vector<arch::IdPair> children;  // that have ended; at most kMostBoundaryChildren
};

/// Where the translation can lie: free now, not in the way of heap and stacks, and within reach of
/// a jump from all functions. Nothing if there is no such place.
std::optional<Addr> find_boundary_place(const libc::Library& library,
                                        std::span<const proc::PageRun> taken, std::uint64_t bytes);

/// The size of the mapping that install_boundary() will make, in bytes.
std::uint64_t boundary_bytes(const libc::Library& library, const BoundaryIds& ids,
                             const FlightPlan& flights);

/// Makes the mapping at `place`, changes the entry points, and the system calls of `flights`.
/// Functions in whose first bytes one of `stopped` (program counters) lies that `flights` does not
/// cover are left alone, and returned by name, as are those that cannot be changed.
std::vector<std::string> install_boundary(tracee::Inferior& inferior, const libc::Library& library,
                                          const BoundaryIds& ids, const FlightPlan& flights,
                                          Addr place, std::span<const Addr> stopped);

/// A translation that an earlier restore put into a process.
struct FoundBoundary {
  proc::PageRun mapping;
  proc::PageRun code;
  BoundaryIds ids;
  std::vector<arch::BoundaryPatch> patches;
  std::vector<arch::MovedCode> moved;

  /// What the program remembers the kernel's `real` as.
  [[nodiscard]] Tid remembered(Tid real) const;
  /// The same for a child that had ended at the save and was not waited for yet; `real` for others.
  [[nodiscard]] Tid remembered_child(Tid real) const;
};
/// Has the translation know that a child has been waited for. Returns what the program remembers
/// it as.
Tid collect_child(const FoundBoundary& boundary, const tracee::Memory& memory, Tid real);
/// The one at `place`; nothing if there is none.
std::optional<FoundBoundary> boundary_in(Addr place, const tracee::Memory& memory);
std::optional<FoundBoundary> find_boundary(const std::vector<proc::Mapping>& mappings,
                                           const tracee::Memory& memory);

}  // namespace ckpt::ids
