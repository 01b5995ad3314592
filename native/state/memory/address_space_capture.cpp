// Capture of the address space: what there is; see address_space.hpp. Its bytes are moved by
// address_space_write.cpp.
#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <optional>

#include "base/error.hpp"
#include "state/files/huge_pages.hpp"
#include "state/memory/address_space.hpp"
#include "state/memory/name_cache.hpp"
#include "state/surroundings/quiet_open.hpp"

namespace ckpt::state {

namespace {

// A hole of this size in a mapping becomes a segment of its own without bytes, so that the file's
// length stays near what it holds: file systems end (ext4 at 16 TiB) where sanitizers only begin.
constexpr std::uint64_t kSplitHoleBytes = 16U << 20U;

struct OpenedFile {
  UniqueFd fd;
  struct stat status {};
};

bool same_object(const struct stat& status, const proc::Mapping& mapping) {
  return status.st_ino == mapping.inode;
}

std::string shown_path(const proc::Mapping& mapping) {
  return mapping.path + (mapping.deleted ? " (deleted)" : "");
}

// The file behind a mapping: by name if that is still the same file, else through the links that
// /proc keeps to files without a name.
std::optional<OpenedFile> open_mapped(const CaptureContext& context, const proc::Mapping& mapping) {
  const auto try_open = [&](const std::string& path) -> std::optional<OpenedFile> {
    OpenedFile file{open_quietly(path), {}};
    if (!file.fd || ::fstat(file.fd.get(), &file.status) != 0 || !S_ISREG(file.status.st_mode) ||
        !same_object(file.status, mapping))
      return std::nullopt;
    return file;
  };
  const std::string root = context.process.path("root");
  if (auto file = try_open(root + shown_path(mapping))) return file;
  // Needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE.
  if (auto file = try_open(context.process.path(
          fmt::format("map_files/{:x}-{:x}", mapping.start.value, mapping.end.value))))
    return file;
  if (auto file = try_open(context.process.path("exe"))) return file;
  if (mapping.deleted)
    if (const auto other = name_beside(root + mapping.path, mapping.inode))
      if (auto file = try_open(*other)) return file;
  for (const int fd : context.process.descriptors())
    if (auto file = try_open(context.process.path(fmt::format("fd/{}", fd)))) return file;
  return std::nullopt;
}

bool is_elf(int fd) {
  std::array<char, SELFMAG> magic{};
  return ::pread(fd, magic.data(), magic.size(), 0) == SELFMAG &&
         std::memcmp(magic.data(), ELFMAG, SELFMAG) == 0;
}

bool is_memory_file(const proc::Mapping& mapping) { return mapping.path.starts_with("/memfd:"); }

// Shared memory that no name leads to, but the one that prctl(2) may have given it.
bool is_shared_anonymous(const proc::Mapping& mapping) {
  return mapping.path.starts_with("/dev/zero") || mapping.path.starts_with("[anon_shmem:") ||
         mapping.path.starts_with("/anon_hugepage");
}

bool is_unnamed_shared(const proc::Mapping& mapping) {
  return is_shared_anonymous(mapping) || is_memory_file(mapping) ||
         mapping.path.starts_with("/SYSV");
}

std::string object_name(const proc::Mapping& mapping) {
  return fmt::format("{}:{}:{}", mapping.dev_major, mapping.dev_minor, mapping.inode);
}

std::string range_text(const proc::Mapping& mapping) {
  return fmt::format("memory {}-{}", mapping.start, mapping.end);
}

class Examiner {
 public:
  // `everything`: where all the mappings are. Guard pages are rare, and looked for once.
  Examiner(CaptureContext& context, const ResidentPages& resident, proc::PageRun everything,
           std::vector<SharedMemory>& shared)
      : context_(context),
        resident_(resident),
        shared_(shared),
        pagemap_fd_(context.process.open("pagemap", O_RDONLY)),
        pagemap_(pagemap_fd_.get()),
        guards_(pagemap_.guard_runs(everything.start, everything.end)) {
    for (std::size_t i = 0; i < shared.size(); ++i) numbers_.emplace(shared[i].name, i);
  }

  Region examine(proc::Mapping mapping) {
    Region region;
    region.mapping = std::move(mapping);
    const proc::Mapping& map = region.mapping;
    if (map.is_kernel_special()) {
      region.backing = Backing::kernel;
      // Tools unwind through the vdso; the vvar pages are the kernel's clocks, not the program's.
      if (map.path == "[vdso]") region.stored = {{map.start, map.end}};
      return region;
    }
    // Reserved for what a descriptor or a context of io_setup(2) brings back.
    if (context_.returning.contains(map.start))
      region.backing = Backing::lost;
    else if (map.has_flag("io") || map.has_flag("pf"))
      lose(region, "a mapping of a device", "the memory comes back inaccessible");
    else if (!map.has_object())
      examine_private(region);
    else if (is_unnamed_shared(map))
      examine_unnamed(region);
    else
      examine_file(region);
    if (map.protection_key != 0)
      context_.report.add(Severity::changed, range_text(map), "protection key",
                          fmt::format("protection key {} is not restored: the memory comes back "
                                      "with key 0 and is not guarded by it",
                                      map.protection_key));
    return region;
  }

 private:
  // Of the memory that a mapping shows.
  std::size_t number_of(const std::string& name) {
    const auto [known, is_new] = numbers_.try_emplace(name, shared_.size());
    if (is_new) shared_.push_back({name});
    return known->second;
  }

  void lose(Region& region, std::string_view what, std::string_view effect) {
    region.backing = Backing::lost;
    context_.report.add(Severity::lost, range_text(region.mapping), "mapping",
                        fmt::format("{} ({}): {}", what, region.mapping.path, effect));
  }

  void examine_private(Region& region) {
    region.backing = Backing::anonymous;
    examine_pages(region);
    // Memory of which the kernel may make zeros at any time (MAP_DROPPABLE). C libraries keep the
    // state of vgetrandom() there: restored twice, it would give the same numbers twice.
    if (region.mapping.has_flag("dp")) region.stored.clear();
  }

  void examine_pages(Region& region) {
    const proc::Mapping& map = region.mapping;
    region.stored = pagemap_.private_runs(map.start, map.end);
    region.guards = proc::clip_runs(guards_, map.start, map.end);
    if (pagemap_.tells_guards()) return;
    // Linux 6.13 and 6.14: what is "in swap" and cannot be read is a guard page.
    std::vector<std::byte> byte(1);
    for (const auto& run : pagemap_.swapped_runs(map.start, map.end))
      for (Addr at = run.start; at < run.end; at = at + kPageSize)
        if (context_.memory.read_some(at, byte) == 0) region.guards.push_back({at, at + kPageSize});
    region.guards = proc::merge_runs(region.guards);
    region.stored = proc::subtract_runs(region.stored, region.guards);
  }

  // Since Linux 6.15, which tells them from others. What the object has there cannot be read
  // through this mapping.
  void examine_shared_guards(Region& region) {
    const proc::Mapping& map = region.mapping;
    region.guards = proc::clip_runs(guards_, map.start, map.end);
    auto readable = proc::subtract_runs(region.stored, region.guards);
    if (readable == region.stored) return;
    region.stored = std::move(readable);
    context_.report.add(
        Severity::changed, range_text(map), "shared memory",
        "what it holds behind guard pages (MADV_GUARD_INSTALL) comes back as zeros");
  }

  // Memory shared through an object without a name. Ask the object, not the page table, which
  // pages exist.
  void examine_unnamed(Region& region) {
    const proc::Mapping& map = region.mapping;
    // With a descriptor for it, or the privilege to open it, it comes back as what it is.
    if (is_memory_file(map))
      if (const auto opened = open_mapped(context_, map)) return examine_opened(region, *opened);
    if (!map.shared) {
      // MAP_PRIVATE: own pages are private, the others the object's. The device /dev/zero has none,
      // nor has what stands behind huge pages.
      const bool shows_memory = map.deleted && !is_memory_file(map) && !map.has_flag("ht");
      region.backing = Backing::anonymous;
      region.stored = shows_memory || is_memory_file(map)
                          ? all_content(map)
                          : pagemap_.present_runs(map.start, map.end);
      if (shows_memory)
        context_.report.add(Severity::changed, range_text(map), "shared memory",
                            "is mapped privately: it comes back with its content, and does not "
                            "show what is written to the shared memory later");
      if (is_memory_file(map))
        context_.report.add(Severity::changed, range_text(map), "mapped file",
                            fmt::format("{} may not be opened: the memory comes back with its "
                                        "content but without the file",
                                        map.path));
      return;
    }
    region.backing = Backing::shared_anonymous;
    region.shared = number_of(object_name(map));
    region.stored = map.has_flag("ht") ? all_content(map) : resident_(map);
    region.segment = look_at_segment(context_, map);
    examine_shared_guards(region);
    if (!is_shared_anonymous(map) && !region.segment)
      context_.report.add(Severity::changed, range_text(map), "shared memory",
                          fmt::format("{} comes back as shared memory of this process alone, "
                                      "with its content",
                                      map.path));
  }

  void examine_file(Region& region) {
    const proc::Mapping& map = region.mapping;
    if (is_name_cache(map)) {
      keep_shared_pages(region);
      return;
    }
    auto opened = open_mapped(context_, map);
    if (!opened) {
      keep_pages_instead(region);
      return;
    }
    examine_opened(region, *opened);
  }

  void examine_opened(Region& region, const OpenedFile& opened) {
    const proc::Mapping& map = region.mapping;
    const bool in_memory = is_memory_file(map);
    const bool elf = !in_memory && is_elf(opened.fd.get());
    const FileName name = name_of(opened.status, shown_path(map));
    KeptFile file = describe_file(opened.status, name.path, name.deleted || in_memory);
    file.in_memory = in_memory;
    file.huge_page_bytes = huge_page_bytes_of(opened.fd.get());
    if (file.deleted && map.shared)
      file.attributes = read_file_attributes(context_, range_text(map), file.path, opened.fd.get(),
                                             opened.status);
    const std::string key = fmt::format("{}:{}", opened.status.st_dev, opened.status.st_ino);
    const bool written = map.shared && map.has_flag("mw");
    const auto known = kept_.find(key);
    if (known != kept_.end() && (known->second || !written)) {
      file.object = known->second;
    } else {
      if (elf || file.deleted || is_small_enough(opened.status, written, context_.file_limit_bytes))
        file.object = context_.objects.keep(opened.fd.get(), map.path, elf);
      kept_.insert_or_assign(key, file.object);
    }
    region.file = file;
    if (map.shared) {
      region.backing = Backing::shared_file;
      examine_shared_guards(region);
      if (!file.object) report_not_kept(map, written);
      return;
    }
    region.backing = Backing::private_file;
    examine_pages(region);
    const proc::PageRun first{map.start, map.start + kPageSize};
    if (elf && map.offset_bytes == 0 &&
        (region.stored.empty() || region.stored.front().start != map.start)) {
      region.first_page_is_extra = true;
      region.stored.insert(region.stored.begin(), first);
    }
    if (!file.object) report_not_kept(map, false);
  }

  void report_not_kept(const proc::Mapping& map, bool written) {
    context_.report.add(written ? Severity::lost : Severity::note, range_text(map), "mapped file",
                        too_large_text(map.path, written));
  }

  // The file can no longer be opened (deleted, and we are not privileged): its pages are still in
  // memory.
  void keep_pages_instead(Region& region) {
    const proc::Mapping& map = region.mapping;
    if (map.path.starts_with("/dev/") && !map.path.starts_with("/dev/shm/")) {
      lose(region, "a mapping of a device", "the memory comes back inaccessible");
      return;
    }
    if (map.path.find("[aio]") != std::string::npos || map.path.starts_with("anon_inode:")) {
      lose(region, "memory shared with the kernel", "the memory comes back inaccessible");
      return;
    }
    if (map.path.starts_with("/secretmem")) {
      lose(region, "secret memory (memfd_secret)", "the memory comes back inaccessible");
      return;
    }
    if (map.shared) {
      keep_shared_pages(region);
    } else {
      region.backing = Backing::anonymous;
      region.stored = readable_runs(map);
    }
    context_.report.add(
        Severity::changed, range_text(map), "mapped file",
        fmt::format("{} is gone and cannot be opened: the memory comes back with its content but "
                    "without the file's name",
                    map.path));
  }

  void keep_shared_pages(Region& region) {
    const proc::Mapping& map = region.mapping;
    region.backing = Backing::shared_anonymous;
    region.shared = number_of(object_name(map));
    region.stored = readable_runs(map);
  }

  // mincore(2) knows of huge pages only what the page table knows. To look at one that there is not
  // takes it from the pool, which is as it should be where the program has reserved it.
  std::vector<proc::PageRun> all_content(const proc::Mapping& map) {
    if (!map.has_flag("ht") || !map.has_flag("nr")) return readable_runs(map);
    auto runs = pagemap_.present_runs(map.start, map.end);
    const auto size = [](std::uint64_t sum, const proc::PageRun& run) { return sum + run.size(); };
    if (map.shared &&
        std::accumulate(runs.begin(), runs.end(), std::uint64_t{0}, size) < map.size())
      context_.report.add(Severity::changed, range_text(map), "huge pages",
                          "comes back with zeros where this process has not touched it");
    return runs;
  }

  // A mapping may be longer than its file: pages past the end cannot be read (SIGBUS).
  std::vector<proc::PageRun> readable_runs(const proc::Mapping& map) {
    std::vector<proc::PageRun> runs;
    std::vector<std::byte> page(kPageSize);
    for (Addr at = map.start; at < map.end; at = at + map.page_bytes)
      if (context_.memory.read_some(at, page) == kPageSize)
        runs.push_back({at, at + map.page_bytes});
    return proc::merge_runs(runs);
  }

  CaptureContext& context_;
  const ResidentPages& resident_;
  std::vector<SharedMemory>& shared_;
  std::map<std::string, std::size_t> numbers_;  // in shared_, by name
  UniqueFd pagemap_fd_;
  proc::Pagemap pagemap_;
  std::vector<proc::PageRun> guards_;
  std::map<std::string, std::optional<store::ObjectRef>> kept_;
};

std::uint32_t segment_flags(const proc::Mapping& map) {
  return (map.read ? PF_R : 0U) | (map.write ? PF_W : 0U) | (map.exec ? PF_X : 0U);
}

// In a file's mapping what is not stored is the file's, not zero: segments must be exact there.
bool holes_are_zero(const Region& region) {
  return region.backing == Backing::anonymous || region.backing == Backing::shared_anonymous;
}

void plan_region(const Region& region, std::vector<image::Segment>& segments) {
  const proc::Mapping& map = region.mapping;
  const std::uint32_t flags = segment_flags(map);
  const std::uint64_t longest_hole = holes_are_zero(region) ? kSplitHoleBytes : 0;
  Addr at = map.start;
  const auto gap_to = [&](Addr until) {
    if (at < until) segments.push_back({at, until - at, 0, flags, 0});
    at = until;
  };
  for (std::size_t i = 0; i < region.stored.size();) {
    const Addr start = region.stored[i].start;
    Addr end = region.stored[i].end;
    for (++i; i < region.stored.size() && region.stored[i].start - end <= longest_hole; ++i)
      end = region.stored[i].end;
    gap_to(start);
    segments.push_back({start, end - start, end - start, flags, 0});
    at = end;
  }
  // What follows the last stored page of anonymous memory needs no segment of its own.
  if (!region.stored.empty() && holes_are_zero(region)) {
    segments.back().memory_bytes = map.end - segments.back().start;
    return;
  }
  gap_to(map.end);
}

// The parts of a mapping that are the program's: the kernel merges neighbours.
std::vector<proc::Mapping> visible_parts(const CaptureContext& context, proc::Mapping mapping) {
  std::vector<proc::Mapping> parts = {std::move(mapping)};
  for (const auto& hidden : context.hidden) {
    std::vector<proc::Mapping> left;
    for (auto& part : parts) {
      const auto keep = [&](Addr start, Addr end) {
        if (start >= end) return;
        left.push_back(part);
        left.back().start = start;
        left.back().end = end;
      };
      keep(part.start, std::min(part.end, hidden.start));
      keep(std::max(part.start, hidden.end), part.end);
    }
    parts = std::move(left);
  }
  return parts;
}

}  // namespace

std::vector<const Region*> regions_sharing(const AddressSpace& space, std::size_t shared) {
  std::vector<const Region*> group;
  for (const Region& region : space.regions)
    if (region.backing == Backing::shared_anonymous && region.shared == shared)
      group.push_back(&region);
  return group;
}

bool is_in_one_piece(const std::vector<const Region*>& group) {
  const Addr start = group.front()->mapping.start;
  std::uint64_t offset = 0;
  return std::all_of(group.begin(), group.end(), [&](const Region* region) {
    const proc::Mapping& map = region->mapping;
    const bool next = map.offset_bytes == offset && map.start == start + offset;
    offset += map.size();
    return next;
  });
}

AddressSpace examine(CaptureContext& context, const ResidentPages& resident, Addr brk,
                     std::vector<SharedMemory>& shared) {
  AddressSpace space;
  auto mappings = context.process.detailed_mappings();
  std::erase_if(mappings, [](const auto& mapping) { return mapping.path == "[vsyscall]"; });
  proc::PageRun everything;
  if (!mappings.empty()) everything = {mappings.front().start, mappings.back().end};
  Examiner examiner(context, resident, everything, shared);
  for (auto& mapping : mappings) {
    for (auto& part : visible_parts(context, std::move(mapping)))
      space.regions.push_back(examiner.examine(std::move(part)));
  }
  const proc::Stat stat = context.process.stat();
  space.bounds = {
      stat.start_code,  stat.end_code,  stat.start_data, stat.end_data,  stat.start_brk, brk,
      stat.start_stack, stat.arg_start, stat.arg_end,    stat.env_start, stat.env_end};
  const std::string auxv = context.process.read("auxv");
  const auto* first = reinterpret_cast<const std::byte*>(auxv.data());
  space.auxv.assign(first, first + auxv.size());
  return space;
}

void note_memory_policies(const CaptureContext& context, AddressSpace& space,
                          const MemoryPolicy& main) {
  const auto policies = look_at_memory_policies(context.process, main);
  if (policies.empty()) return;
  for (Region& region : space.regions) {
    // A region may be a part of a mapping.
    const auto above = policies.upper_bound(region.mapping.start);
    if (above != policies.begin()) region.policy = std::prev(above)->second;
  }
}

std::vector<proc::PageRun> shared_pages(tracee::Inferior& inferior, const proc::Mapping& mapping) {
  constexpr std::uint64_t kAtOnce = 32U << 10U;
  // One byte per page.
  const auto answer = inferior.reserve(std::min(kAtOnce, mapping.size() / kPageSize));
  std::vector<proc::PageRun> runs;
  std::vector<std::uint8_t> bytes;
  for (Addr at = mapping.start; at < mapping.end;) {
    const std::uint64_t pages = std::min(answer.size_bytes(), (mapping.end - at) / kPageSize);
    inferior.call("mincore", SYS_mincore, {at, pages * kPageSize, answer});
    bytes.resize(pages);
    answer.read(std::as_writable_bytes(std::span(bytes)));
    for (std::uint64_t i = 0; i < pages; ++i)
      if ((bytes[i] & 1U) != 0) runs.push_back({at + i * kPageSize, at + (i + 1) * kPageSize});
    at = at + pages * kPageSize;
  }
  return proc::merge_runs(runs);
}

std::vector<image::Segment> plan_segments(const AddressSpace& space) {
  std::vector<image::Segment> segments;
  for (const Region& region : space.regions) {
    if (region.backing == Backing::kernel && region.stored.empty()) continue;
    plan_region(region, segments);
  }
  return segments;
}

}  // namespace ckpt::state
