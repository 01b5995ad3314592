// Finds instructions with unpredictable results in mapped files, and puts breakpoints on them.
#pragma once

#include <map>
#include <vector>

#include "arch/unpredictable.hpp"
#include "proc/maps.hpp"
#include "tracee/memory.hpp"

namespace ckpt::recording {

/// Those in an executable mapping of a file. What the file's own table of functions (.eh_frame_hdr)
/// covers is decoded from the begin of the function: bytes between functions may be data.
std::vector<arch::UnpredictableSite> find_sites(const tracee::Memory& memory,
                                                const proc::Mapping& mapping);

/// The breakpoints in a process.
class Sites {
 public:
  void insert(const tracee::Memory& memory, const std::vector<arch::UnpredictableSite>& sites);
  /// The one whose breakpoint a thread at `pc` has just run into.
  [[nodiscard]] const arch::UnpredictableSite* hit(Addr pc) const;
  /// The one at `at`.
  [[nodiscard]] bool has(Addr at) const { return sites_.contains(at); }
  /// Puts the program's own bytes into what was read of it at `at`.
  void hide(Addr at, std::span<std::byte> bytes) const;
  /// Forgets those in memory that is unmapped or replaced.
  void forget(Addr start, Addr end);
  /// Puts the program's own instructions back into a process that has inherited the breakpoints, or
  /// is left alone.
  void remove_from(const tracee::Memory& memory) const;

 private:
  std::map<Addr, arch::UnpredictableSite> sites_;
};

}  // namespace ckpt::recording
