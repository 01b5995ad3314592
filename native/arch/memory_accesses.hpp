// What memory an instruction reads and writes.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "arch/arch.hpp"
#include "base/types.hpp"

namespace ckpt::arch {

struct MemoryAccess {
  Addr at;
  std::uint64_t size_bytes = 0;
  bool reads = false;
  bool writes = false;
};

/// By the instruction at the begin of `code`, before it runs with these registers. Of a repeating
/// one: by its next round. Nothing for bytes that are no instruction, and of those whose addresses
/// lie in vector registers (gather, scatter) or that save and load the extended state.
std::vector<MemoryAccess> memory_accesses(std::span<const std::byte> code,
                                          const Registers& registers);

}  // namespace ckpt::arch
