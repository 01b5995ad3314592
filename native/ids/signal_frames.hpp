// What a thread was doing when signals interrupted it: the registers that the kernel has put on its
// stack for each handler that is running (struct rt_sigframe).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/types.hpp"
#include "proc/pagemap.hpp"
#include "tracee/memory.hpp"
#include "tracee/ptrace.hpp"

namespace ckpt::ids {

struct Interrupted {
  tracee::Registers registers{};  // the general ones
  Addr saved_at;                  // on the stack

  /// Where the general register of that name lies there; it has eight bytes.
  [[nodiscard]] Addr place_of(std::string_view name) const;
  [[nodiscard]] Addr place_of_pc() const;
  /// Where the address of the extended state lies.
  [[nodiscard]] Addr place_of_state_pointer() const;
};

/// The innermost handler's first. `restorers`: the addresses to which handlers return
/// (sa_restorer); `stacks`: the memory in which stacks may lie, ascending. A frame that is left
/// over from a handler that has returned may be among them.
std::vector<Interrupted> find_interrupted(const tracee::Registers& now,
                                          const tracee::Memory& memory,
                                          std::span<const std::uint64_t> restorers,
                                          std::span<const proc::PageRun> stacks);

}  // namespace ckpt::ids
