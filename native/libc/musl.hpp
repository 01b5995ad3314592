// musl's struct pthread, and what musl's locks hold of thread ids. It tells debuggers nothing of
// where its fields are, so the structure itself must show that it is one.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/types.hpp"
#include "tracee/memory.hpp"

namespace ckpt::libc {

/// Where musl keeps the id of a thread: nothing if what FS points to is not its struct pthread, or
/// has not this id where versions 1.1.22 to 1.2 have it.
std::optional<Addr> find_musl_id(const tracee::Memory& memory, Addr thread_pointer, Tid id);

/// A thread as it was saved, and the id that it has now.
struct MuslThread {
  Addr thread_pointer;
  Tid before = 0;
  Tid now = 0;
  std::vector<std::uint64_t> words;  // that may point to the stdio file which it is using
};

/// For a restore: renews the owners of the locks that musl's threads hold. These are exact: each
/// thread has a list of its mutexes that know their owner, and one of the files that it has locked
/// by flockfile(). A file that a thread is just using is on no list, but in its registers or on its
/// stack. To be called while struct pthread has the ids of the save; no thread runs. Throws Error
/// (system) when memory cannot be written.
void renew_musl_owners(const tracee::Memory& memory, std::span<const MuslThread> threads);

}  // namespace ckpt::libc
