// System calls with ids that a program makes by instructions of its own, past the C library: the
// translation of remembered ids (boundary.hpp) does not see them, so a save names them.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libc/library.hpp"
#include "tracee/memory.hpp"

namespace ckpt::ids {

/// The calls with ids that `code` makes, each once: where a constant number gets into rax, and the
/// `syscall` follows behind at most a few plain instructions. The memory is read once, 16 bytes at
/// a time.
std::vector<std::string_view> find_own_calls(std::span<const std::byte> code);

struct OwnCalls {
  std::string file;
  std::vector<std::string_view> calls;
  bool is_go = false;  // the file has Go's runtime, which is told of new ids (go_runtime.hpp)
};

/// Looks through the mapped code of all files but the C library, the dynamic linker and our own
/// library. A static program's own calls cannot be told from its C library's: it is left out.
std::vector<OwnCalls> find_own_calls(const tracee::Memory& memory,
                                     std::span<const libc::MappedObject> objects, bool is_static);

}  // namespace ckpt::ids
