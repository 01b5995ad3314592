// Restore of the address space; see address_space.hpp.
#include <linux/prctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <set>

#include "base/error.hpp"
#include "base/fault.hpp"
#include "state/files/huge_pages.hpp"
#include "state/memory/address_space.hpp"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102  // Linux 6.13
#endif
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08  // Linux 6.11
#endif

namespace ckpt::state {

namespace {

using tracee::LoopEntry;

std::uint64_t protection(const proc::Mapping& map) {
  return (map.read ? PROT_READ : 0U) | (map.write ? PROT_WRITE : 0U) | (map.exec ? PROT_EXEC : 0U);
}

bool is_special_now(const proc::Mapping& map) {
  return map.is_kernel_special() && map.path != "[vsyscall]";
}

// The extents that belong to a region and are to be read into it.
std::vector<image::Extent> extents_of(const Region& region,
                                      const std::vector<image::Extent>& extents) {
  std::vector<image::Extent> mine;
  // Older snapshots have bytes of droppable memory, too.
  if (region.backing == Backing::kernel || region.backing == Backing::shared_file ||
      region.backing == Backing::lost || region.mapping.has_flag("dp"))
    return mine;
  auto at = std::lower_bound(
      extents.begin(), extents.end(), region.mapping.start,
      [](const image::Extent& extent, Addr start) { return extent.start < start; });
  for (; at != extents.end() && at->start < region.mapping.end; ++at) {
    if (at->start + at->size_bytes > region.mapping.end)
      image::damaged("memory that crosses the end of its mapping");
    if (region.first_page_is_extra && at->start == region.mapping.start) {
      // Stored for tools; what follows in the same extent is the program's.
      if (at->size_bytes == kPageSize) continue;
      mine.push_back(
          {at->start + kPageSize, at->file_offset + kPageSize, at->size_bytes - kPageSize, 0});
      continue;
    }
    mine.push_back(*at);
  }
  return mine;
}

constexpr std::uint64_t kHuge = MAP_HUGETLB;

// Older snapshots record no page size: then it is the kernel's usual one.
std::uint64_t size_flags(const proc::Mapping& map) {
  return map.page_bytes == kPageSize ? 0 : huge_page_flags(map.page_bytes);
}

// Memory without a file: it can be made with other pages here and now.
bool wants_huge_pages(const Region& region) {
  return region.mapping.has_flag("ht") &&
         (region.backing == Backing::anonymous ||
          (region.backing == Backing::shared_anonymous && !region.segment));
}

std::uint64_t mapping_flags(const Region& region) {
  const proc::Mapping& map = region.mapping;
  std::uint64_t flags = MAP_FIXED_NOREPLACE;
  switch (region.backing) {
    case Backing::private_file: flags |= MAP_PRIVATE; break;
    case Backing::shared_file: flags |= MAP_SHARED; break;
    case Backing::shared_anonymous: flags |= MAP_SHARED | MAP_ANONYMOUS; break;
    default: flags |= (map.has_flag("dp") ? MAP_DROPPABLE : MAP_PRIVATE) | MAP_ANONYMOUS; break;
  }
  if (map.has_flag("gd")) flags |= MAP_GROWSDOWN;
  if (map.has_flag("nr")) flags |= MAP_NORESERVE;
  if (wants_huge_pages(region)) flags |= kHuge | size_flags(map);
  return flags;
}

// Has what is to be filled, so that filling cannot fail for a page that was never reserved.
bool populate(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
              const std::vector<image::Extent>& extents, std::uint64_t page_bytes) {
  std::vector<LoopEntry> table;
  for (const auto& extent : extents) {
    const std::uint64_t start = extent.start.value & ~(page_bytes - 1);
    const std::uint64_t end =
        (extent.start.value + extent.size_bytes + page_bytes - 1) & ~(page_bytes - 1);
    table.push_back(tracee::loop_entry(SYS_madvise, {start, end - start, MADV_POPULATE_WRITE}));
  }
  thread.run(scratch, table);
  return std::none_of(table.begin(), table.end(), [](const LoopEntry& row) {
    return row.result < 0 && row.result != -EINVAL;  // which an old kernel says
  });
}

// After a try to map huge pages: ordinary ones hold the same bytes if there are too few. `row` is
// the call as it was made, and then the one that counts.
void settle_huge_pages(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                       const Region& region, const std::vector<image::Extent>& extents,
                       LoopEntry& row, std::vector<std::string>& notes) {
  const proc::Mapping& map = region.mapping;
  const bool mapped = row.result == static_cast<std::int64_t>(map.start.value);
  if (mapped && populate(thread, scratch, extents, map.page_bytes)) return;
  if (!mapped && row.result != -ENOMEM && region.file) return;  // not for want of pages
  if (region.file)
    throw NoHugePages(fmt::format("map {}-{} {}: not enough huge pages of {} kB are free",
                                  map.start, map.end, map.path, map.page_bytes >> 10U),
                      *region.file);
  std::vector<LoopEntry> again;
  if (mapped) again.push_back(tracee::loop_entry(SYS_munmap, {map.start.value, row.arguments[1]}));
  again.push_back(row);
  again.back().arguments[3] &= ~(kHuge | size_flags(map));
  thread.run(scratch, again);
  row = again.back();
  notes.push_back(ordinary_pages_note(fmt::format("memory {}-{}", map.start, map.end),
                                      map.page_bytes == kPageSize ? 0 : map.page_bytes));
}

// A kernel before 6.11 has no droppable memory. Fresh private memory is zeros likewise, and is only
// kept for longer.
void settle_droppable(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                      LoopEntry& row) {
  if (row.result != -EINVAL) return;
  row.arguments[3] = (row.arguments[3] & ~std::uint64_t{MAP_DROPPABLE}) | MAP_PRIVATE;
  thread.run(scratch, std::span(&row, 1));
}

void expect_mapped(const LoopEntry& row, const Region& region) {
  if (row.result == static_cast<std::int64_t>(region.mapping.start.value)) return;
  throw_errno(
      fmt::format("map {}-{} {}", region.mapping.start, region.mapping.end, region.mapping.path),
      row.result < 0 && row.result >= -4095 ? static_cast<int>(-row.result) : EEXIST);
}

// Whether one mmap() would not do.
bool is_group(const std::vector<const Region*>& regions) {
  return regions.size() > 1 || regions.front()->mapping.offset_bytes != 0 ||
         regions.front()->segment.has_value();
}

// Regions of one shared object, where one mapping after the other would make one object each.
void rebuild_shared_group(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                          const AddressSpace& space, const std::vector<const Region*>& group,
                          std::vector<std::string>& notes) {
  std::uint64_t size = 0;
  for (const Region* region : group)
    size = std::max(size, region->mapping.offset_bytes + region->mapping.size());
  const auto& segment = group.front()->segment;
  if (segment) size = std::max(size, page_up(segment->size_bytes));
  // Not where the kernel likes: without randomisation that is where the regions themselves belong.
  proc::Mapping ours;
  ours.start = scratch.code;
  ours.end = scratch.code + scratch.size();
  const Addr whole = find_free_place({ours}, space, size);
  if (segment) {
    attach_segment(thread, *segment, whole, notes);
  } else {
    thread.checked_call(
        "mmap (shared memory)", SYS_mmap,
        {whole.value, size, PROT_READ | PROT_WRITE,
         MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, static_cast<std::uint64_t>(-1), 0});
  }
  for (const Region* region : group) {
    // mremap(2): with an old size of 0 a shared mapping is mapped a second time.
    thread.checked_call("mremap (shared memory)", SYS_mremap,
                        {(whole + region->mapping.offset_bytes).value, 0, region->mapping.size(),
                         MREMAP_MAYMOVE | MREMAP_FIXED, region->mapping.start.value, 0});
  }
  thread.checked_call("munmap (shared memory)", SYS_munmap, {whole.value, size});
}

// The same of huge pages, which mremap(2) does not map a second time.
void rebuild_huge_group(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                        const std::vector<const Region*>& group,
                        const std::vector<image::Extent>& extents,
                        std::vector<std::string>& notes) {
  Region whole = *group.front();
  whole.mapping.end = group.back()->mapping.end;
  std::array<LoopEntry, 1> table = {tracee::loop_entry(
      SYS_mmap, {whole.mapping.start.value, whole.mapping.size(), PROT_READ | PROT_WRITE,
                 mapping_flags(whole), static_cast<std::uint64_t>(-1), 0})};
  thread.run(scratch, table);
  settle_huge_pages(thread, scratch, whole, extents_of(whole, extents), table[0], notes);
  expect_mapped(table[0], whole);
}

// The heap, when it begins where the executable's .bss ends (as without randomisation). Left alone,
// the kernel would make one mapping of the two and label it [heap], data and all. It does not merge
// mappings whose pages belong to different anon_vmas; those differ when the first fault on each
// falls into a time when the flags differ. So the heap is MADV_DONTDUMP until both are filled, and
// a page of each is touched, lest one of them be all zeros and stay empty.
const Region* heap_beside_data(const AddressSpace& space) {
  for (std::size_t i = 1; i < space.regions.size(); ++i) {
    const Region& heap = space.regions[i];
    const Region& data = space.regions[i - 1];
    if (heap.mapping.path != "[heap]" || heap.mapping.start != space.bounds.start_brk) continue;
    const bool mergeable = heap.backing == Backing::anonymous &&
                           data.backing == Backing::anonymous &&
                           data.mapping.end == heap.mapping.start && heap.mapping.write &&
                           protection(data.mapping) == protection(heap.mapping);
    return mergeable ? &heap : nullptr;
  }
  return nullptr;
}

// Kernels before 6.13 have no such pages; pages without access fault as well.
void install_guards(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                    std::vector<LoopEntry>& guards, std::vector<std::string>& notes) {
  thread.run(scratch, guards);
  std::vector<LoopEntry> protect;
  for (const LoopEntry& row : guards) {
    if (row.result == 0) continue;
    if (row.result != -EINVAL)
      throw_errno(fmt::format("madvise (guard pages at {:#x})", row.arguments[0]),
                  static_cast<int>(-row.result));
    protect.push_back(
        tracee::loop_entry(SYS_mprotect, {row.arguments[0], row.arguments[1], PROT_NONE}));
  }
  if (protect.empty()) return;
  thread.run(scratch, protect, true, "mprotect (guard pages)");
  notes.emplace_back(
      "guard pages (MADV_GUARD_INSTALL) come back as pages without access, since this kernel "
      "refuses to make them (before Linux 6.13; for files before 6.15): MADV_GUARD_REMOVE will not "
      "undo them");
}

const std::array<std::pair<std::string_view, std::uint64_t>, 8> kAdvice = {{
    {"dc", MADV_DONTFORK},
    {"dd", MADV_DONTDUMP},
    {"wf", MADV_WIPEONFORK},
    {"rr", MADV_RANDOM},
    {"sr", MADV_SEQUENTIAL},
    {"hg", MADV_HUGEPAGE},
    {"nh", MADV_NOHUGEPAGE},
    {"mg", MADV_MERGEABLE},
}};

}  // namespace

Addr find_free_place(const std::vector<proc::Mapping>& now, const AddressSpace& space,
                     std::uint64_t size_bytes) {
  std::vector<proc::PageRun> taken;
  for (const auto& map : now)
    if (map.path != "[vsyscall]") taken.push_back({map.start, map.end});
  for (const auto& region : space.regions) {
    taken.push_back({region.mapping.start, region.mapping.end});
  }
  // What stays there must not be in the way of a heap that grows, which need not end with a page.
  constexpr std::uint64_t kHeapRoom = 1U << 30U;
  taken.push_back({space.bounds.start_brk, Addr{page_up(space.bounds.brk.value)} + kHeapRoom});
  std::sort(taken.begin(), taken.end());
  constexpr std::uint64_t kMargin = 1U << 20U;
  Addr candidate{0x10000000};
  for (const auto& run : taken) {
    if (run.end <= candidate) continue;
    if (run.start > candidate && run.start - candidate >= size_bytes + kMargin) return candidate;
    candidate = run.end + kMargin;
  }
  return candidate;
}

void clear_and_move_kernel_pages(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                                 const std::vector<proc::Mapping>& now, const AddressSpace& space,
                                 std::optional<Addr> stay) {
  std::vector<proc::Mapping> special;
  for (const auto& map : now)
    if (is_special_now(map)) special.push_back(map);

  // First out of the way of everything, then, when all else is gone, to the final place: old and
  // new place may overlap, which mremap refuses.
  const std::uint64_t special_bytes =
      special.empty() ? 0 : special.back().end - special.front().start;
  std::vector<proc::Mapping> blocked = now;
  proc::Mapping ours;
  ours.start = scratch.code;
  ours.end = scratch.code + scratch.size();
  blocked.push_back(ours);
  const Addr parking = stay ? *stay : find_free_place(blocked, space, special_bytes);
  // Their code finds its data by the distance.
  const auto parked = [&](const proc::Mapping& map) {
    return parking + (map.start - special.front().start);
  };
  std::vector<LoopEntry> table;
  table.reserve(now.size() + special.size());
  std::vector<proc::PageRun> keep = {{ours.start, ours.end}, {parking, parking + special_bytes}};
  for (const auto& map : special) {
    table.push_back(
        tracee::loop_entry(SYS_mremap, {map.start.value, map.size(), map.size(),
                                        MREMAP_MAYMOVE | MREMAP_FIXED, parked(map).value}));
  }
  std::sort(keep.begin(), keep.end());
  for (const auto& map : now) {
    if (map.is_kernel_special()) continue;
    const bool kept = std::any_of(keep.begin(), keep.end(), [&](const proc::PageRun& run) {
      return map.start < run.end && run.start < map.end;
    });
    if (!kept) table.push_back(tracee::loop_entry(SYS_munmap, {map.start.value, map.size()}));
  }
  for (const auto& map : special) {
    if (stay) break;
    const auto target =
        std::find_if(space.regions.begin(), space.regions.end(), [&](const Region& region) {
          return region.backing == Backing::kernel && region.mapping.path == map.path;
        });
    if (target == space.regions.end()) {
      table.push_back(tracee::loop_entry(SYS_munmap, {parked(map).value, map.size()}));
    } else {
      table.push_back(tracee::loop_entry(
          SYS_mremap, {parked(map).value, map.size(), map.size(), MREMAP_MAYMOVE | MREMAP_FIXED,
                       target->mapping.start.value}));
    }
  }
  thread.run(scratch, table, true, "clear the address space");
}

void map_regions(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                 const AddressSpace& space, const MappedFiles& files,
                 const std::vector<image::Extent>& extents, std::vector<std::string>& notes) {
  std::map<std::string, std::vector<const Region*>> shared;
  for (const Region& region : space.regions)
    if (region.backing == Backing::shared_anonymous) shared[region.sharing].push_back(&region);

  std::vector<LoopEntry> table;
  std::vector<const Region*> made;
  for (std::size_t i = 0; i < space.regions.size(); ++i) {
    const Region& region = space.regions[i];
    if (region.backing == Backing::kernel) continue;
    if (region.backing == Backing::shared_anonymous) {
      const auto& group = shared[region.sharing];
      if (is_group(group)) continue;
    }
    const proc::Mapping& map = region.mapping;
    std::uint64_t prot = region.backing == Backing::lost ? PROT_NONE : protection(map);
    if (!extents_of(region, extents).empty() || region.backing == Backing::shared_anonymous)
      prot |= PROT_READ | PROT_WRITE;
    const auto file = files.find(i);
    const std::uint64_t fd = file == files.end() ? static_cast<std::uint64_t>(-1)
                                                 : static_cast<std::uint64_t>(file->second);
    const std::uint64_t offset = file == files.end() ? 0 : map.offset_bytes;
    table.push_back(tracee::loop_entry(
        SYS_mmap, {map.start.value, map.size(), prot, mapping_flags(region), fd, offset}));
    made.push_back(&region);
  }
  thread.run(scratch, table);
  for (std::size_t i = 0; i < table.size(); ++i) {
    if (made[i]->mapping.has_flag("ht"))
      settle_huge_pages(thread, scratch, *made[i], extents_of(*made[i], extents), table[i], notes);
    if (made[i]->mapping.has_flag("dp")) settle_droppable(thread, scratch, table[i]);
    expect_mapped(table[i], *made[i]);
  }
  for (const auto& [name, group] : shared) {
    if (!is_group(group)) continue;
    if (wants_huge_pages(*group.front()) && is_in_one_piece(group))
      rebuild_huge_group(thread, scratch, group, extents, notes);
    else
      rebuild_shared_group(thread, scratch, space, group, notes);
  }
  if (const Region* heap = heap_beside_data(space)) {
    const std::uint64_t start = heap->mapping.start.value;
    std::array<LoopEntry, 3> apart = {
        tracee::loop_entry(SYS_madvise, {start, heap->mapping.size(), MADV_DONTDUMP}),
        tracee::loop_entry(SYS_madvise, {start, kPageSize, MADV_POPULATE_WRITE}),
        tracee::loop_entry(SYS_madvise, {start - kPageSize, kPageSize, MADV_POPULATE_WRITE})};
    thread.run(scratch, apart);  // a label is not worth a failure
  }
}

void fill_memory(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                 const AddressSpace& space, const std::vector<image::Extent>& extents,
                 int image_fd) {
  std::vector<LoopEntry> table;
  for (const Region& region : space.regions)
    for (const auto& extent : extents_of(region, extents))
      table.push_back(
          tracee::loop_entry(SYS_pread64, {static_cast<std::uint64_t>(image_fd), extent.start.value,
                                           extent.size_bytes, extent.file_offset}));
  thread.run(scratch, table, true, "read memory from the snapshot");
  for (LoopEntry& row : table) {
    // A short read is allowed by read(2); what is missing is read again.
    while (row.result < static_cast<std::int64_t>(row.arguments[2])) {
      if (row.result <= 0)
        fail(ErrorKind::damaged, "the snapshot ended while memory at {:#x} was read",
             row.arguments[1]);
      const auto got = static_cast<std::uint64_t>(row.result);
      row.arguments[1] += got;
      row.arguments[2] -= got;
      row.arguments[3] += got;
      thread.run(scratch, std::span(&row, 1), true, "read memory from the snapshot");
    }
  }
}

namespace {

// mseal(2), since Linux 6.10; not in every distribution's headers.
constexpr std::uint64_t kMseal = 462;

// Nothing about these mappings can be changed from now on.
void close_for_good(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                    std::vector<LoopEntry>& ranges, std::vector<std::string>& notes) {
  thread.run(scratch, ranges);
  for (const LoopEntry& row : ranges) {
    if (row.result == 0) continue;
    notes.push_back(fmt::format("memory that was sealed (mseal) comes back open for changes: {}",
                                row.result == -ENOSYS
                                    ? "this kernel has no mseal (before Linux 6.10)"
                                    : describe_errno(static_cast<int>(-row.result))));
    return;
  }
}

// "arena" of "[anon:arena]", "[anon_shmem:arena]": what prctl(PR_SET_VMA) has named.
std::string_view name_of_anonymous(std::string_view path) {
  for (const std::string_view before : {"[anon:", "[anon_shmem:"})
    if (path.starts_with(before) && path.ends_with(']'))
      return path.substr(before.size(), path.size() - before.size() - 1);
  return {};
}

}  // namespace

void restore_names(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                   const tracee::Memory& memory, const AddressSpace& space) {
  constexpr std::uint64_t kSetVma = 0x53564d41;  // PR_SET_VMA, PR_SET_VMA_ANON_NAME
  constexpr std::size_t kLongest = 80;           // with the zero at its end
  const Addr name_at = scratch.data + sizeof(LoopEntry);
  for (const Region& region : space.regions) {
    const proc::Mapping& map = region.mapping;
    const auto name = name_of_anonymous(map.path);
    if (name.empty() || name.size() >= kLongest) continue;
    std::array<char, kLongest> text{};
    std::copy(name.begin(), name.end(), text.begin());
    memory.write_value(name_at, text);
    // A label: a kernel without (CONFIG_ANON_VMA_NAME) is none the worse for it.
    std::array<LoopEntry, 1> row = {
        tracee::loop_entry(SYS_prctl, {kSetVma, 0, map.start.value, map.size(), name_at.value})};
    thread.run(scratch, row);
  }
}

void restore_memory_policies(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                             const tracee::Memory& memory, const AddressSpace& space,
                             std::vector<std::string>& notes) {
  std::size_t failed = 0;
  int error = 0;
  for (const Region& region : space.regions) {
    if (region.policy.mode == 0 || region.backing == Backing::kernel) continue;
    const int result = set_memory_policy(thread, scratch, memory, region.policy,
                                         region.mapping.start, region.mapping.size());
    if (result == 0) continue;
    ++failed;
    error = result;
  }
  if (failed != 0)
    notes.push_back(fmt::format("the memory policy (NUMA) of {} mappings cannot be set again: {}",
                                failed, describe_errno(error)));
}

void apply_protections(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                       const tracee::Memory& memory, const AddressSpace& space,
                       const std::vector<image::Extent>& extents, std::vector<std::string>& notes) {
  std::vector<LoopEntry> protect;
  std::vector<LoopEntry> advise;  // advice is advice: a kernel without huge pages says EINVAL
  std::vector<LoopEntry> guard;
  std::vector<LoopEntry> closed;
  for (const Region& region : space.regions) {
    const proc::Mapping& map = region.mapping;
    if (region.backing == Backing::kernel || region.backing == Backing::lost) continue;
    const bool was_opened =
        !extents_of(region, extents).empty() || region.backing == Backing::shared_anonymous;
    if (was_opened && protection(map) != (PROT_READ | PROT_WRITE))
      protect.push_back(
          tracee::loop_entry(SYS_mprotect, {map.start.value, map.size(), protection(map)}));
    for (const auto& [flag, advice] : kAdvice)
      if (map.has_flag(flag))
        advise.push_back(tracee::loop_entry(SYS_madvise, {map.start.value, map.size(), advice}));
    for (const auto& run : region.guards)
      guard.push_back(
          tracee::loop_entry(SYS_madvise, {run.start.value, run.size(), MADV_GUARD_INSTALL}));
    if (map.has_flag("lo"))
      advise.push_back(
          map.has_flag("lf")
              ? tracee::loop_entry(SYS_mlock2, {map.start.value, map.size(), MLOCK_ONFAULT})
              : tracee::loop_entry(SYS_mlock, {map.start.value, map.size()}));
    if (map.has_flag("sl"))
      closed.push_back(tracee::loop_entry(kMseal, {map.start.value, map.size(), 0}));
  }
  thread.run(scratch, protect, true, "mprotect");
  const Region* heap = heap_beside_data(space);
  if (heap != nullptr && !heap->mapping.has_flag("dd"))
    advise.push_back(tracee::loop_entry(
        SYS_madvise, {heap->mapping.start.value, heap->mapping.size(), MADV_DODUMP}));
  thread.run(scratch, advise);
  install_guards(thread, scratch, guard, notes);
  close_for_good(thread, scratch, closed, notes);

  // After the prctl_mm_map the auxiliary vector, which must not overlap the table of the run.
  prctl_mm_map map{};
  const Addr map_at = scratch.data + 2 * sizeof(LoopEntry);
  const Addr auxv_at = map_at + sizeof map;
  const MemoryBounds& bounds = space.bounds;
  map.start_code = bounds.start_code.value;
  map.end_code = bounds.end_code.value;
  map.start_data = bounds.start_data.value;
  map.end_data = bounds.end_data.value;
  map.start_brk = bounds.start_brk.value;
  map.brk = bounds.brk.value;
  map.start_stack = bounds.start_stack.value;
  map.arg_start = bounds.arg_start.value;
  map.arg_end = bounds.arg_end.value;
  map.env_start = bounds.env_start.value;
  map.env_end = bounds.env_end.value;
  // NOLINTNEXTLINE(performance-no-int-to-ptr): an address of the other process
  map.auxv = reinterpret_cast<__u64*>(auxv_at.value);
  map.auxv_size = static_cast<__u32>(space.auxv.size());
  map.exe_fd = static_cast<__u32>(-1);
  memory.write_value(map_at, map);
  memory.write(auxv_at, space.auxv);
  std::array<LoopEntry, 1> call = {
      tracee::loop_entry(SYS_prctl, {PR_SET_MM, PR_SET_MM_MAP, map_at.value, sizeof map})};
  thread.run(scratch, call, true, "prctl(PR_SET_MM_MAP)");
}

}  // namespace ckpt::state
