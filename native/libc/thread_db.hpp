// What libthread_db, the C library's own helper for debuggers, knows of the threads of a process.
//
// It asks its user for memory, registers and symbols, by functions named ps_* that it finds
// in the program that loaded it (proc_service.h). Ours are in thread_db.cpp. So this is for our own
// processes only: GDB has ps_* of its own, to which libthread_db binds in GDB's process.
#pragma once

#include <span>
#include <vector>

#include "base/types.hpp"

namespace ckpt::libc {

struct Handle {
  Tid lwp = 0;
  std::uint64_t pthread = 0;
};

/// pthread_t of those among the threads `lwps` that the C library of the process knows; none where
/// libthread_db cannot be used: another C library, another version of it, no symbols.
/// Precondition: the threads are stopped and traced by the calling thread.
std::vector<Handle> thread_handles(Tid pid, std::span<const Tid> lwps);

}  // namespace ckpt::libc
