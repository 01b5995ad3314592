// Ids in the results of system calls that may block: of wait4() and waitid(), and of those that
// make processes. None of our code may stand between a blocked thread and its caller, so the C
// library's own code makes the call. What is changed are the instructions right behind its
// `syscall`: they lead through a stub in the page of the translation (boundary_layout.hpp), which
// translates the result, runs the instructions that stood there, and goes back. A thread that waits
// has the library's own program counter and an untouched stack: backtraces, cancellation and the
// next save know nothing of it.
//
// What is found here is all or nothing: that a child is called one thing where it is made and
// another where it is waited for would be worse than the kernel's id in both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "arch/boundary_layout.hpp"
#include "libc/library.hpp"
#include "tracee/memory.hpp"

namespace ckpt::ids {

/// Whether the C library's function of that name makes a system call whose result has an id.
bool is_result_function(std::string_view name);

/// The offsets behind each `syscall` in a function that makes the call `number`, or any if it is
/// negative. Nothing if an instruction of the function is not known, or if a branch of its may lead
/// into the middle of what lies there.
std::optional<std::vector<std::size_t>> find_result_sites(std::span<const std::byte> function,
                                                          int number);

/// A change of the library's code: a jump to `target`, and what it replaces.
struct ResultPatch {
  arch::BoundaryPatch patch{};
  Addr target;
};

struct ResultStubs {
  std::vector<std::byte> code;  // at most kResultStubsBytes, to lie at the address asked for
  std::vector<ResultPatch> patches;

  /// The stub for what stands at `site`, if there is one.
  [[nodiscard]] std::optional<Addr> behind(Addr site) const;
};

/// The stubs for a page of translation whose code begins at `code_at`, and which itself lie at
/// `stubs_at`. Empty if not all functions are there and can be changed. `stopped`: where threads
/// are, or will return to from signal handlers.
ResultStubs make_result_stubs(const tracee::Memory& memory, const libc::Library& library,
                              Addr code_at, Addr stubs_at, std::span<const Addr> stopped);

}  // namespace ckpt::ids
