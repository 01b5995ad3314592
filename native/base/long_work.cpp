#include "base/long_work.hpp"

#include "base/error.hpp"

namespace ckpt {

namespace {

thread_local WorkProgress work_progress;

}  // namespace

WatchedWork::WatchedWork(WorkProgress progress)
    : outer_(std::exchange(work_progress, std::move(progress))) {}

WatchedWork::~WatchedWork() { work_progress = std::move(outer_); }

void tell_work(std::uint64_t done_bytes, std::uint64_t all_bytes) {
  if (work_progress && !work_progress(done_bytes, all_bytes))
    fail(ErrorKind::interrupted, "interrupted");
}

}  // namespace ckpt
