// Records a program: its threads run one at a time, and what the kernel and the processor tell them
// is written down.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "recording/event.hpp"
#include "recording/launch.hpp"

namespace ckpt::recorder {

struct Options {
  std::string output;
  bool replace = false;
  /// Digests of memory after so many events; 0: now and then, for a tenth of the time at most.
  std::uint64_t digest_every = 0;
  /// For how long a thread runs on while others could run.
  double slice_s = 0.2;
};

struct Outcome {
  std::uint64_t events = 0;
  std::uint64_t threads = 0;
  std::uint64_t preemptions = 0;
  std::uint64_t file_bytes = 0;
  double seconds = 0;
  int wait_status = 0;  // the program's
  recording::EndReason reason = recording::EndReason::exited;
  std::string refused;             // what the recording has ended before
  std::vector<std::string> notes;  // what is not in the recording
};

/// Runs the program to its end. Where the recording must end earlier, `on_refusal` is told why, and
/// the program goes on by itself. Signals of the terminal are the program's. Throws Error.
Outcome record(const recording::Command& command, const Options& options,
               const std::function<void(const std::string& why)>& on_refusal);

}  // namespace ckpt::recorder
