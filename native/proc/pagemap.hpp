// Which pages of a mapping hold bytes of their own: PAGEMAP_SCAN where the kernel has it (6.7),
// /proc/PID/pagemap otherwise. Features are probed, never guessed from a version.
//
// Only good for private memory: for shared memory a page table entry may be missing although the
// object has content.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/types.hpp"

namespace ckpt::proc {

struct PageRun {
  Addr start;
  Addr end;
  [[nodiscard]] std::uint64_t size() const { return end - start; }
  auto operator<=>(const PageRun&) const = default;
};

class Pagemap {
 public:
  /// `fd` is an open /proc/PID/pagemap, borrowed. `may_scan`: false asks as a kernel without
  /// PAGEMAP_SCAN is asked.
  explicit Pagemap(int fd, bool may_scan = true);

  /// Runs of pages in [start, end) that are private to the process: present or swapped, not the
  /// kernel's zero page, not a clean page of a file, not a guard page. Ascending, not adjacent.
  [[nodiscard]] std::vector<PageRun> private_runs(Addr start, Addr end) const;

  /// Whether the kernel tells guard pages (MADV_GUARD_INSTALL) from others: since 6.15. Those of
  /// 6.13 count as swapped.
  [[nodiscard]] bool tells_guards() const { return has_guard_; }
  /// Runs of guard pages; empty where the kernel cannot tell.
  [[nodiscard]] std::vector<PageRun> guard_runs(Addr start, Addr end) const;
  /// Runs of pages in swap, or, where the kernel cannot tell, of guard pages.
  [[nodiscard]] std::vector<PageRun> swapped_runs(Addr start, Addr end) const;

  /// Runs of pages present or swapped, of whatever kind.
  [[nodiscard]] std::vector<PageRun> present_runs(Addr start, Addr end) const;

 private:
  [[nodiscard]] std::vector<PageRun> runs_by_entry(
      Addr start, Addr end, const std::function<bool(std::uint64_t)>& wanted) const;

  int fd_;
  bool has_scan_ = false;
  bool has_guard_ = false;
};

/// Joins touching and overlapping runs; the input must be sorted by start.
std::vector<PageRun> merge_runs(const std::vector<PageRun>& runs);

/// What of `runs`, which are ascending and do not overlap, is in [start, end).
std::vector<PageRun> clip_runs(const std::vector<PageRun>& runs, Addr start, Addr end);

/// What of `runs` is not in `without`; both ascending and not overlapping, as is the result.
std::vector<PageRun> subtract_runs(const std::vector<PageRun>& runs,
                                   const std::vector<PageRun>& without);

}  // namespace ckpt::proc
