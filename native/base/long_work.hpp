// Work whose length a file decides, however large it is: its caller sees how far it has come,
// and may end it.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

namespace ckpt {

/// Bytes done, bytes in all; returns false to cancel.
using WorkProgress = std::function<bool(std::uint64_t, std::uint64_t)>;

/// Has `progress` told of what this thread does, as long as this lives.
class WatchedWork {
 public:
  explicit WatchedWork(WorkProgress progress);
  ~WatchedWork();
  WatchedWork(const WatchedWork&) = delete;
  WatchedWork& operator=(const WatchedWork&) = delete;

 private:
  WorkProgress outer_;
};

/// To be called every few milliseconds of such work. Throws Error (interrupted).
void tell_work(std::uint64_t done_bytes, std::uint64_t all_bytes);

}  // namespace ckpt
