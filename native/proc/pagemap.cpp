#include "proc/pagemap.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/error.hpp"

namespace ckpt::proc {

namespace {

// <linux/fs.h> since 6.7; Debian 12's headers are older than its backported kernels.
constexpr std::uint64_t kPageIsFile = 1U << 2U;
constexpr std::uint64_t kPageIsPresent = 1U << 3U;
constexpr std::uint64_t kPageIsSwapped = 1U << 4U;
constexpr std::uint64_t kPageIsPfnZero = 1U << 5U;
constexpr std::uint64_t kPageIsGuard = 1U << 8U;  // 6.15

struct PageRegion {
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t categories;
};

struct ScanArgument {
  std::uint64_t size;
  std::uint64_t flags;
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t walk_end;
  std::uint64_t vec;
  std::uint64_t vec_len;
  std::uint64_t max_pages;
  std::uint64_t category_inverted;
  std::uint64_t category_mask;
  std::uint64_t category_anyof_mask;
  std::uint64_t return_mask;
};

// NOLINTNEXTLINE(hicpp-signed-bitwise)
const unsigned long kPagemapScan = _IOWR('f', 16, ScanArgument);

// Documentation/admin-guide/mm/pagemap.rst
constexpr std::uint64_t kEntryPresent = 1ULL << 63U;
constexpr std::uint64_t kEntrySwapped = 1ULL << 62U;
constexpr std::uint64_t kEntryFile = 1ULL << 61U;
constexpr std::uint64_t kEntryGuard = 1ULL << 58U;

struct ScanQuery {
  std::uint64_t inverted = 0;
  std::uint64_t all_of = 0;
  std::uint64_t any_of = 0;
};

std::vector<PageRun> scan(int fd, Addr start, Addr end, const ScanQuery& query) {
  std::vector<PageRun> runs;
  // Not cleared: most mappings have few runs, and there may be tens of thousands of mappings.
  std::array<PageRegion, 512> regions;  // NOLINT(cppcoreguidelines-pro-type-member-init)
  ScanArgument argument{};
  argument.size = sizeof argument;
  argument.vec = reinterpret_cast<std::uint64_t>(regions.data());
  argument.vec_len = regions.size();
  argument.category_inverted = query.inverted;
  argument.category_mask = query.all_of;
  argument.category_anyof_mask = query.any_of;
  argument.return_mask = kPageIsPresent;
  std::uint64_t from = start.value;
  while (from < end.value) {
    argument.start = from;
    argument.end = end.value;
    const int n = ::ioctl(fd, kPagemapScan, &argument);
    if (n < 0) {
      if (errno == EINTR) continue;
      throw_errno(fmt::format("PAGEMAP_SCAN {:#x}-{:#x}", from, end.value), errno);
    }
    for (int i = 0; i < n; ++i) {
      const PageRegion& region = regions[static_cast<std::size_t>(i)];
      if (!runs.empty() && runs.back().end.value == region.start)
        runs.back().end = Addr{region.end};
      else
        runs.push_back({Addr{region.start}, Addr{region.end}});
    }
    if (argument.walk_end <= from) break;
    from = argument.walk_end;
  }
  return runs;
}

bool probe(int fd, std::uint64_t categories) {
  ScanArgument argument{};
  argument.size = sizeof argument;
  argument.category_mask = categories;
  argument.return_mask = categories;
  PageRegion region{};
  argument.vec = reinterpret_cast<std::uint64_t>(&region);
  argument.vec_len = 1;
  argument.start = 0;
  argument.end = kPageSize;
  return ::ioctl(fd, kPagemapScan, &argument) >= 0;
}

}  // namespace

Pagemap::Pagemap(int fd, bool may_scan)
    : fd_(fd),
      has_scan_(may_scan && probe(fd, kPageIsPresent)),
      has_guard_(may_scan && probe(fd, kPageIsGuard)) {}

std::vector<PageRun> Pagemap::private_runs(Addr start, Addr end) const {
  if (has_scan_) {
    // A guard marker counts as swapped, so it must be excluded by name where the kernel knows it.
    const std::uint64_t excluded = kPageIsFile | kPageIsPfnZero | (has_guard_ ? kPageIsGuard : 0);
    ScanQuery query;
    query.inverted = excluded;
    query.all_of = excluded;
    query.any_of = kPageIsPresent | kPageIsSwapped;
    return scan(fd_, start, end, query);
  }
  return runs_by_entry(start, end, [](std::uint64_t entry) {
    return (entry & (kEntryPresent | kEntrySwapped)) != 0 && (entry & kEntryFile) == 0 &&
           (entry & kEntryGuard) == 0;
  });
}

std::vector<PageRun> Pagemap::present_runs(Addr start, Addr end) const {
  if (has_scan_) {
    ScanQuery query;
    query.any_of = kPageIsPresent | kPageIsSwapped;
    return scan(fd_, start, end, query);
  }
  return runs_by_entry(start, end, [](std::uint64_t entry) {
    return (entry & (kEntryPresent | kEntrySwapped)) != 0 && (entry & kEntryGuard) == 0;
  });
}

std::vector<PageRun> Pagemap::guard_runs(Addr start, Addr end) const {
  if (!has_guard_) return {};
  ScanQuery query;
  query.all_of = kPageIsGuard;
  return scan(fd_, start, end, query);
}

std::vector<PageRun> Pagemap::swapped_runs(Addr start, Addr end) const {
  if (has_scan_) {
    ScanQuery query;
    query.all_of = kPageIsSwapped;
    return scan(fd_, start, end, query);
  }
  return runs_by_entry(start, end,
                       [](std::uint64_t entry) { return (entry & kEntrySwapped) != 0; });
}

std::vector<PageRun> Pagemap::runs_by_entry(
    Addr start, Addr end, const std::function<bool(std::uint64_t)>& wanted) const {
  constexpr std::uint64_t kBatch = 65536;
  std::vector<std::uint64_t> entries(kBatch);
  std::vector<PageRun> runs;
  for (Addr at = start; at < end;) {
    const std::uint64_t pages = std::min((end - at) / kPageSize, kBatch);
    const ssize_t n = ::pread(fd_, entries.data(), pages * sizeof(std::uint64_t),
                              static_cast<off_t>(at.value / kPageSize * sizeof(std::uint64_t)));
    if (n < 0) {
      if (errno == EINTR) continue;
      throw_errno(fmt::format("read pagemap at {}", at), errno);
    }
    const std::uint64_t got = static_cast<std::uint64_t>(n) / sizeof(std::uint64_t);
    if (got == 0) break;
    for (std::uint64_t i = 0; i < got; ++i) {
      if (!wanted(entries[i])) continue;
      const Addr page = at + i * kPageSize;
      if (!runs.empty() && runs.back().end == page)
        runs.back().end = page + kPageSize;
      else
        runs.push_back({page, page + kPageSize});
    }
    at = at + got * kPageSize;
  }
  return runs;
}

std::vector<PageRun> merge_runs(const std::vector<PageRun>& runs) {
  std::vector<PageRun> merged;
  for (const PageRun& run : runs) {
    if (!merged.empty() && run.start <= merged.back().end)
      merged.back().end = std::max(merged.back().end, run.end);
    else
      merged.push_back(run);
  }
  return merged;
}

std::vector<PageRun> clip_runs(const std::vector<PageRun>& runs, Addr start, Addr end) {
  std::vector<PageRun> inside;
  auto run = std::partition_point(runs.begin(), runs.end(),
                                  [&](const PageRun& each) { return each.end <= start; });
  for (; run != runs.end() && run->start < end; ++run)
    inside.push_back({std::max(run->start, start), std::min(run->end, end)});
  return inside;
}

std::vector<PageRun> subtract_runs(const std::vector<PageRun>& runs,
                                   const std::vector<PageRun>& without) {
  std::vector<PageRun> left;
  for (const PageRun& run : runs) {
    Addr from = run.start;
    for (const PageRun& hole : without) {
      if (hole.end <= from || hole.start >= run.end) continue;
      if (from < hole.start) left.push_back({from, hole.start});
      from = hole.end;
    }
    if (from < run.end) left.push_back({from, run.end});
  }
  return left;
}

}  // namespace ckpt::proc
