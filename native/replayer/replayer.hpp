// Replays a recording in one task, which runs the program's threads in turn: its system calls are
// not made but answered, and a change of threads is a change of registers.
#pragma once

#include <cstdint>
#include <string>

#include "recording/file.hpp"

namespace ckpt::replayer {

struct Outcome {
  std::uint64_t events = 0;
  std::uint64_t threads = 1;
  std::uint64_t digests = 0;      // of memory, that were compared
  std::uint64_t preemptions = 0;  // positions that were found
  double seconds = 0;
  bool ended = false;  // the recording has an end
  recording::EndReason reason = recording::EndReason::exited;
  std::string refused;  // what the recording has ended before
};

/// Replays to the end and compares registers at each event, and memory where the recording has its
/// digest. Throws Error at the first difference.
Outcome check(recording::Reader& reader);

}  // namespace ckpt::replayer
