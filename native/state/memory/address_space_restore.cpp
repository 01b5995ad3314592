// Restore of the address space; see address_space.hpp.
#include <linux/prctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <set>
#include <tuple>

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
bool populate(tracee::Inferior& inferior, const std::vector<image::Extent>& extents,
              std::uint64_t page_bytes) {
  tracee::Batch batch(inferior);
  for (const auto& extent : extents) {
    const std::uint64_t start = extent.start.value & ~(page_bytes - 1);
    const std::uint64_t end =
        (extent.start.value + extent.size_bytes + page_bytes - 1) & ~(page_bytes - 1);
    batch.add(SYS_madvise, {start, end - start, MADV_POPULATE_WRITE});
  }
  batch.run();
  return std::none_of(batch.begin(), batch.end(), [](const LoopEntry& call) {
    return call.result < 0 && call.result != -EINVAL;  // which an old kernel says
  });
}

// After a try to map huge pages: ordinary ones hold the same bytes if there are too few. `call` is
// as it was made, and then the one that counts.
void settle_huge_pages(RestoreContext& inferior, const Region& region,
                       const std::vector<image::Extent>& extents, LoopEntry& call) {
  const proc::Mapping& map = region.mapping;
  const bool mapped = call.result == static_cast<std::int64_t>(map.start.value);
  if (mapped && populate(inferior, extents, map.page_bytes)) return;
  if (!mapped && call.result != -ENOMEM && region.file) return;  // not for want of pages
  if (region.file)
    throw NoHugePages(fmt::format("map {}-{} {}: not enough huge pages of {} kB are free",
                                  map.start, map.end, map.path, map.page_bytes >> 10U),
                      *region.file);
  if (mapped) inferior.attempt(SYS_munmap, {map.start, call.arguments[1]});
  call.arguments[3] &= ~(kHuge | size_flags(map));
  call = inferior.again(call);
  inferior.notes.push_back(ordinary_pages_note(fmt::format("memory {}-{}", map.start, map.end),
                                               map.page_bytes == kPageSize ? 0 : map.page_bytes));
}

// A kernel before 6.11 has no droppable memory. Fresh private memory is zeros likewise, and is only
// kept for longer.
void settle_droppable(tracee::Inferior& inferior, LoopEntry& call) {
  if (call.result != -EINVAL) return;
  call.arguments[3] = (call.arguments[3] & ~std::uint64_t{MAP_DROPPABLE}) | MAP_PRIVATE;
  call = inferior.again(call);
}

void expect_mapped(const LoopEntry& call, const Region& region) {
  if (call.result == static_cast<std::int64_t>(region.mapping.start.value)) return;
  const int error = tracee::error_of(call.result);
  throw_errno(
      fmt::format("map {}-{} {}", region.mapping.start, region.mapping.end, region.mapping.path),
      error != 0 ? error : EEXIST);
}

// Whether one mmap() would not do.
bool is_group(const std::vector<const Region*>& regions) {
  return regions.size() > 1 || regions.front()->mapping.offset_bytes != 0 ||
         regions.front()->segment.has_value();
}

proc::Mapping mapping_of(const tracee::Scratch& scratch) {
  proc::Mapping map;
  map.start = scratch.code;
  map.end = scratch.code + scratch.size();
  return map;
}

// Regions of one shared object, where one mapping after the other would make one object each.
void rebuild_shared_group(RestoreContext& inferior, const AddressSpace& space,
                          const std::vector<const Region*>& group) {
  std::uint64_t size = 0;
  for (const Region* region : group)
    size = std::max(size, region->mapping.offset_bytes + region->mapping.size());
  const auto& segment = group.front()->segment;
  if (segment) size = std::max(size, page_up(segment->size_bytes));
  // Not where the kernel likes: without randomisation that is where the regions themselves belong.
  const Addr whole = find_free_place({mapping_of(inferior.scratch())}, space, size);
  if (segment) {
    attach_segment(inferior, *segment, whole);
  } else {
    inferior.call("mmap (shared memory)", SYS_mmap,
                  {whole, size, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0});
  }
  for (const Region* region : group) {
    // mremap(2): with an old size of 0 a shared mapping is mapped a second time.
    inferior.call("mremap (shared memory)", SYS_mremap,
                  {whole + region->mapping.offset_bytes, 0, region->mapping.size(),
                   MREMAP_MAYMOVE | MREMAP_FIXED, region->mapping.start, 0});
  }
  inferior.call("munmap (shared memory)", SYS_munmap, {whole, size});
}

// The same of huge pages, which mremap(2) does not map a second time.
void rebuild_huge_group(RestoreContext& inferior, const std::vector<const Region*>& group,
                        const std::vector<image::Extent>& extents) {
  Region whole = *group.front();
  whole.mapping.end = group.back()->mapping.end;
  tracee::Batch batch(inferior);
  LoopEntry& map = batch.add(SYS_mmap, {whole.mapping.start, whole.mapping.size(),
                                        PROT_READ | PROT_WRITE, mapping_flags(whole), -1, 0});
  batch.run();
  settle_huge_pages(inferior, whole, extents_of(whole, extents), map);
  expect_mapped(map, whole);
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
void install_guards(RestoreContext& inferior, tracee::Batch& guards) {
  guards.run();
  tracee::Batch protect(inferior);
  for (const LoopEntry& call : guards) {
    if (call.result == 0) continue;
    if (call.result != -EINVAL)
      throw_errno(fmt::format("madvise (guard pages at {:#x})", call.arguments[0]),
                  tracee::error_of(call.result));
    protect.add(SYS_mprotect, {call.arguments[0], call.arguments[1], PROT_NONE});
  }
  if (protect.empty()) return;
  protect.run_all("mprotect (guard pages)");
  inferior.notes.emplace_back(
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

void clear_and_move_kernel_pages(tracee::Inferior& inferior, const std::vector<proc::Mapping>& now,
                                 const AddressSpace& space, std::optional<Addr> stay) {
  std::vector<proc::Mapping> special;
  for (const auto& map : now)
    if (is_special_now(map)) special.push_back(map);

  // First out of the way of everything, then, when all else is gone, to the final place: old and
  // new place may overlap, which mremap refuses.
  const std::uint64_t special_bytes =
      special.empty() ? 0 : special.back().end - special.front().start;
  std::vector<proc::Mapping> blocked = now;
  const proc::Mapping ours = mapping_of(inferior.scratch());
  blocked.push_back(ours);
  const Addr parking = stay ? *stay : find_free_place(blocked, space, special_bytes);
  // Their code finds its data by the distance.
  const auto parked = [&](const proc::Mapping& map) {
    return parking + (map.start - special.front().start);
  };
  tracee::Batch batch(inferior);
  std::vector<proc::PageRun> keep = {{ours.start, ours.end}, {parking, parking + special_bytes}};
  for (const auto& map : special) {
    batch.add(SYS_mremap,
              {map.start, map.size(), map.size(), MREMAP_MAYMOVE | MREMAP_FIXED, parked(map)});
  }
  std::sort(keep.begin(), keep.end());
  for (const auto& map : now) {
    if (map.is_kernel_special()) continue;
    const bool kept = std::any_of(keep.begin(), keep.end(), [&](const proc::PageRun& run) {
      return map.start < run.end && run.start < map.end;
    });
    if (!kept) batch.add(SYS_munmap, {map.start, map.size()});
  }
  for (const auto& map : special) {
    if (stay) break;
    const auto target =
        std::find_if(space.regions.begin(), space.regions.end(), [&](const Region& region) {
          return region.backing == Backing::kernel && region.mapping.path == map.path;
        });
    if (target == space.regions.end()) {
      batch.add(SYS_munmap, {parked(map), map.size()});
    } else {
      batch.add(SYS_mremap, {parked(map), map.size(), map.size(), MREMAP_MAYMOVE | MREMAP_FIXED,
                             target->mapping.start});
    }
  }
  batch.run_all("clear the address space");
}

void map_regions(RestoreContext& inferior, const AddressSpace& space, const MappedFiles& files,
                 const std::vector<image::Extent>& extents) {
  std::map<std::size_t, std::vector<const Region*>> shared;
  for (const Region& region : space.regions)
    if (region.backing == Backing::shared_anonymous) shared[*region.shared].push_back(&region);

  tracee::Batch batch(inferior);
  std::vector<const Region*> made;
  for (std::size_t i = 0; i < space.regions.size(); ++i) {
    const Region& region = space.regions[i];
    if (region.backing == Backing::kernel) continue;
    if (region.backing == Backing::shared_anonymous) {
      const auto& group = shared[*region.shared];
      if (is_group(group)) continue;
    }
    const proc::Mapping& map = region.mapping;
    std::uint64_t prot = region.backing == Backing::lost ? PROT_NONE : protection(map);
    if (!extents_of(region, extents).empty() || region.backing == Backing::shared_anonymous)
      prot |= PROT_READ | PROT_WRITE;
    const auto file = files.find(i);
    const int fd = file == files.end() ? -1 : file->second;
    const std::uint64_t offset = file == files.end() ? 0 : map.offset_bytes;
    batch.add(SYS_mmap, {map.start, map.size(), prot, mapping_flags(region), fd, offset});
    made.push_back(&region);
  }
  batch.run();
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (made[i]->mapping.has_flag("ht"))
      settle_huge_pages(inferior, *made[i], extents_of(*made[i], extents), batch[i]);
    if (made[i]->mapping.has_flag("dp")) settle_droppable(inferior, batch[i]);
    expect_mapped(batch[i], *made[i]);
  }
  for (const auto& [name, group] : shared) {
    if (!is_group(group)) continue;
    if (wants_huge_pages(*group.front()) && is_in_one_piece(group))
      rebuild_huge_group(inferior, group, extents);
    else
      rebuild_shared_group(inferior, space, group);
  }
  if (const Region* heap = heap_beside_data(space)) {
    const std::uint64_t start = heap->mapping.start.value;
    tracee::Batch apart(inferior);
    apart.add(SYS_madvise, {start, heap->mapping.size(), MADV_DONTDUMP});
    apart.add(SYS_madvise, {start, kPageSize, MADV_POPULATE_WRITE});
    apart.add(SYS_madvise, {start - kPageSize, kPageSize, MADV_POPULATE_WRITE});
    apart.run();  // a label is not worth a failure
  }
}

void fill_memory(tracee::Inferior& inferior, const AddressSpace& space,
                 const std::vector<image::Extent>& extents, int image_fd) {
  constexpr const char* kWhat = "read memory from the snapshot";
  tracee::Batch batch(inferior);
  for (const Region& region : space.regions)
    for (const auto& extent : extents_of(region, extents))
      batch.add(SYS_pread64, {image_fd, extent.start, extent.size_bytes, extent.file_offset});
  batch.run_all(kWhat);
  for (const LoopEntry& call : batch) {
    auto [start, bytes, offset] =
        std::tuple(call.arguments[1], call.arguments[2], call.arguments[3]);
    auto got = static_cast<std::uint64_t>(call.result);
    // A short read is allowed by read(2); what is missing is read again.
    while (got < bytes) {
      if (got == 0)
        fail(ErrorKind::damaged, "the snapshot ended while memory at {:#x} was read", start);
      start += got;
      bytes -= got;
      offset += got;
      got = inferior.call(kWhat, SYS_pread64, {image_fd, start, bytes, offset});
    }
  }
}

namespace {

// mseal(2), since Linux 6.10; not in every distribution's headers.
constexpr std::uint64_t kMseal = 462;

// Nothing about these mappings can be changed from now on.
void close_for_good(RestoreContext& inferior, tracee::Batch& ranges) {
  ranges.run();
  for (const LoopEntry& call : ranges) {
    if (call.result == 0) continue;
    inferior.notes.push_back(
        fmt::format("memory that was sealed (mseal) comes back open for changes: {}",
                    call.result == -ENOSYS ? "this kernel has no mseal (before Linux 6.10)"
                                           : describe_errno(tracee::error_of(call.result))));
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

void set_bounds(tracee::Inferior& inferior, const AddressSpace& space) {
  const auto auxv = inferior.put(space.auxv);
  const MemoryBounds& bounds = space.bounds;
  prctl_mm_map map{};
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
  map.auxv = reinterpret_cast<__u64*>(auxv.at().value);
  map.auxv_size = static_cast<__u32>(space.auxv.size());
  map.exe_fd = static_cast<__u32>(-1);
  inferior.call("prctl(PR_SET_MM_MAP)", SYS_prctl,
                {PR_SET_MM, PR_SET_MM_MAP, inferior.put_value(map), sizeof map});
}

}  // namespace

void restore_names(tracee::Inferior& inferior, const AddressSpace& space) {
  constexpr std::uint64_t kSetVma = 0x53564d41;  // PR_SET_VMA, PR_SET_VMA_ANON_NAME
  constexpr std::size_t kLongest = 80;           // with the zero at its end
  for (const Region& region : space.regions) {
    const proc::Mapping& map = region.mapping;
    const std::string name(name_of_anonymous(map.path));
    if (name.empty() || name.size() >= kLongest) continue;
    // A label: a kernel without (CONFIG_ANON_VMA_NAME) is none the worse for it.
    inferior.attempt(SYS_prctl, {kSetVma, 0, map.start, map.size(), inferior.put_string(name)});
  }
}

void restore_memory_policies(RestoreContext& inferior, const AddressSpace& space) {
  std::size_t failed = 0;
  int error = 0;
  for (const Region& region : space.regions) {
    if (region.policy.mode == 0 || region.backing == Backing::kernel) continue;
    const int result =
        set_memory_policy(inferior, region.policy, region.mapping.start, region.mapping.size());
    if (result == 0) continue;
    ++failed;
    error = result;
  }
  if (failed != 0)
    inferior.notes.push_back(
        fmt::format("the memory policy (NUMA) of {} mappings cannot be set again: {}", failed,
                    describe_errno(error)));
}

void apply_protections(RestoreContext& inferior, const AddressSpace& space,
                       const std::vector<image::Extent>& extents) {
  tracee::Batch protect(inferior);
  tracee::Batch advise(inferior);  // advice is advice: a kernel without huge pages says EINVAL
  tracee::Batch guard(inferior);
  tracee::Batch closed(inferior);
  for (const Region& region : space.regions) {
    const proc::Mapping& map = region.mapping;
    if (region.backing == Backing::kernel || region.backing == Backing::lost) continue;
    const bool was_opened =
        !extents_of(region, extents).empty() || region.backing == Backing::shared_anonymous;
    if (was_opened && protection(map) != (PROT_READ | PROT_WRITE))
      protect.add(SYS_mprotect, {map.start, map.size(), protection(map)});
    for (const auto& [flag, advice] : kAdvice)
      if (map.has_flag(flag)) advise.add(SYS_madvise, {map.start, map.size(), advice});
    for (const auto& run : region.guards)
      guard.add(SYS_madvise, {run.start, run.size(), MADV_GUARD_INSTALL});
    if (map.has_flag("lo") && map.has_flag("lf"))
      advise.add(SYS_mlock2, {map.start, map.size(), MLOCK_ONFAULT});
    else if (map.has_flag("lo"))
      advise.add(SYS_mlock, {map.start, map.size()});
    if (map.has_flag("sl")) closed.add(kMseal, {map.start, map.size(), 0});
  }
  protect.run_all("mprotect");
  const Region* heap = heap_beside_data(space);
  if (heap != nullptr && !heap->mapping.has_flag("dd"))
    advise.add(SYS_madvise, {heap->mapping.start, heap->mapping.size(), MADV_DODUMP});
  advise.run();
  install_guards(inferior, guard);
  close_for_good(inferior, closed);
  set_bounds(inferior, space);
}

}  // namespace ckpt::state
