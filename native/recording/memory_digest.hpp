// Digests of a process's writable memory, by address: the kernel divides the same memory into
// mappings in more than one way.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "recording/event.hpp"
#include "tracee/memory.hpp"

namespace ckpt::recording {

inline constexpr std::uint64_t kWindowBytes = 256U << 10U;

/// Of all private writable memory; pages of zeros count as absent. Ascending.
std::vector<WindowDigest> digest_memory(Tid pid, const tracee::Memory& memory);

/// Of the bytes at the top of the stack, as far as they can be read.
std::uint64_t digest_stack(const tracee::Memory& memory, Addr stack_pointer);

/// The first window in which two digests differ.
std::optional<Addr> first_difference(const std::vector<WindowDigest>& a,
                                     const std::vector<WindowDigest>& b);

}  // namespace ckpt::recording
