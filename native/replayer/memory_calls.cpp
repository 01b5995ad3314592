// Calls that a replay makes, since they change what is mapped where. Every mapping is private
// memory here: a file's content is copied into it.
#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>

#include "base/error.hpp"
#include "base/io.hpp"
#include "replayer/replay.hpp"

namespace ckpt::replayer {

void Replay::make_memory_call(arch::Special special) {
  const auto numbers = arch::memory_calls();
  const auto arg = [&](std::size_t n) { return std::uint64_t{event_->at.arg(n)}; };
  switch (special) {
    case arch::Special::mmap: return map();
    case arch::Special::munmap:
      return expect_result("munmap", task_.call(numbers.munmap, {arg(0), arg(1)}));
    case arch::Special::mprotect:
      return expect_result("mprotect", task_.call(numbers.mprotect, {arg(0), arg(1), arg(2)}));
    case arch::Special::brk: return expect_result("brk", task_.call(numbers.brk, {arg(0)}));
    case arch::Special::mremap: {
      const auto target = static_cast<std::uint64_t>(event_->result);
      const std::uint64_t flags =
          target == arg(0) ? arg(3) : arg(3) | MREMAP_MAYMOVE | MREMAP_FIXED;
      return expect_result("mremap",
                           task_.call(numbers.mremap, {arg(0), arg(1), arg(2), flags, target}));
    }
    case arch::Special::madvise: {
      constexpr std::uint64_t kDontneedLocked = 24;
      // No other advice changes what the program reads.
      if (arg(2) == MADV_DONTNEED || arg(2) == kDontneedLocked)
        expect_result("madvise", task_.call(numbers.madvise, {arg(0), arg(1), MADV_DONTNEED}));
      return;
    }
    default: fail(ErrorKind::damaged, "event {}: no memory call", events_);
  }
}

void Replay::map() {
  const auto numbers = arch::memory_calls();
  const Addr start{static_cast<std::uint64_t>(event_->result)};
  const std::uint64_t size_bytes = event_->at.arg(1);
  const std::uint64_t protection = event_->at.arg(2);
  const std::uint64_t asked = event_->at.arg(3);
  const std::uint64_t flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE |
                              (asked & static_cast<std::uint64_t>(MAP_GROWSDOWN));
  expect_result("mmap",
                task_.call(numbers.mmap, {start.value, size_bytes, protection, flags, ~0ULL, 0}));
  if (event_->file) fill_from_file(start, size_bytes, event_->at.arg(5));
}

void Replay::fill_from_file(Addr start, std::uint64_t size_bytes, std::uint64_t offset_bytes) {
  const auto& file = *event_->file;
  const UniqueFd fd = open_file(file.path, O_RDONLY);
  if (recording::describe_file(file.path) != file)
    fail(ErrorKind::files, "{} has changed since the recording", file.path);
  if (offset_bytes >= file.size_bytes) return;
  constexpr std::uint64_t kAtOnce = 1U << 20U;
  std::uint64_t left = std::min(size_bytes, file.size_bytes - offset_bytes);
  std::vector<std::byte> buffer(std::min(kAtOnce, left));
  while (left > 0) {
    const auto some = std::span(buffer).first(std::min<std::uint64_t>(left, buffer.size()));
    if (!pread_exact(fd.get(), some, offset_bytes, file.path))
      fail(ErrorKind::files, "{} has become shorter", file.path);
    task_.memory().write(start, some);
    start = start + some.size();
    offset_bytes += some.size();
    left -= some.size();
  }
}

void Replay::expect_result(const char* name, std::int64_t result) {
  if (result != event_->result)
    diverged(fmt::format("{} gives {:#x} and gave {:#x}", name, result, event_->result));
}

}  // namespace ckpt::replayer
