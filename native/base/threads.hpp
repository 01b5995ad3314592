// Threads of our own.
#pragma once

#include <exception>
#include <thread>
#include <vector>

#include "base/signals.hpp"

namespace ckpt {

/// Starts threads that run `work`, with all signals blocked: `wanted` of them, or as many as the
/// system grants (RLIMIT_NPROC, RLIMIT_AS), which may be none. The caller joins them.
template <typename Work>
std::vector<std::thread> start_threads(unsigned wanted, const Work& work) {
  std::vector<std::thread> threads;
  threads.reserve(wanted);
  const SignalsBlocked blocked;
  try {
    for (unsigned i = 0; i < wanted; ++i) threads.emplace_back(work);
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): those that there are must do
  }
  return threads;
}

}  // namespace ckpt
