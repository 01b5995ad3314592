// The address space in the record; see address_space.hpp.
#include <array>
#include <utility>

#include "base/error.hpp"
#include "state/files/huge_pages.hpp"
#include "state/memory/address_space.hpp"

namespace ckpt::state {

namespace {

constexpr std::array<std::pair<Backing, std::string_view>, 6> kBackings = {{
    {Backing::anonymous, "anonymous"},
    {Backing::private_file, "private-file"},
    {Backing::shared_file, "shared-file"},
    {Backing::shared_anonymous, "shared-anonymous"},
    {Backing::kernel, "kernel"},
    {Backing::lost, "lost"},
}};

constexpr std::uint64_t kTopOfUserSpace = 0x00fffffffffff000ULL;  // five-level page tables

void check_address(Addr address) {
  if (address.value > kTopOfUserSpace) image::damaged("an address");
}

using Run = image::Row<proc::PageRun, &proc::PageRun::start, &proc::PageRun::end>;

struct Protection {
  static image::Json write(const Region& region) {
    const proc::Mapping& map = region.mapping;
    std::string text = "---p";
    if (map.read) text[0] = 'r';
    if (map.write) text[1] = 'w';
    if (map.exec) text[2] = 'x';
    if (map.shared) text[3] = 's';
    return text;
  }
  static void read(const image::Json& json, Region& region) {
    const auto text = image::decode<std::string>(json);
    if (text.size() != 4) image::damaged("a mapping's protection");
    proc::Mapping& map = region.mapping;
    map.read = text[0] == 'r';
    map.write = text[1] == 'w';
    map.exec = text[2] == 'x';
    map.shared = text[3] == 's';
  }
  static image::Json type(image::Catalog& /*catalog*/) { return "text"; }
};

void check_pages(proc::Mapping& map) {
  check_address(map.start);
  check_address(map.end);
  if (map.start >= map.end || map.start.value % kPageSize != 0 || map.end.value % kPageSize != 0)
    image::damaged("a mapping");
  if (map.offset_bytes % kPageSize != 0 || map.offset_bytes > kTopOfUserSpace)
    image::damaged("a mapping's offset");
  if (map.page_bytes == 0) map.page_bytes = kPageSize;
  if (map.page_bytes != kPageSize) check_huge_page(map.page_bytes);
  if (map.start.value % map.page_bytes != 0 || map.end.value % map.page_bytes != 0)
    image::damaged("a mapping of huge pages");
}

void check_region(Region& region) {
  const proc::Mapping& map = region.mapping;
  check_pages(region.mapping);
  for (const proc::PageRun& run : region.guards)
    if (run.start >= run.end || run.start < map.start || run.end > map.end ||
        run.start.value % kPageSize != 0 || run.end.value % kPageSize != 0)
      image::damaged("a run of pages");
  if (region.shared.has_value() != (region.backing == Backing::shared_anonymous))
    image::damaged("which memory a mapping shares");
  const bool needs_file =
      region.backing == Backing::private_file || region.backing == Backing::shared_file;
  if (needs_file != region.file.has_value()) image::damaged("a mapping's file");
}

void check_space(AddressSpace& space) {
  const auto overlap = std::adjacent_find(
      space.regions.begin(), space.regions.end(),
      [](const Region& one, const Region& next) { return one.mapping.end > next.mapping.start; });
  if (overlap != space.regions.end()) image::damaged("the order of the mappings");
  if (space.auxv.size() > kPageSize || space.auxv.size() % 16 != 0)
    image::damaged("the auxiliary vector");
}

}  // namespace

const image::Fields<Region>& fields_of(const Region* /*type*/) {
  using enum image::Presence;
  using R = Region;
  using M = proc::Mapping;
  using Field = image::Field<R>;
  using image::inside;
  static const image::Fields<R> fields = {
      "mapping",
      {{"start", inside(&R::mapping, &M::start), "a multiple of 4096"},
       {"end", inside(&R::mapping, &M::end), "likewise"},
       Field::by<Protection>("prot", "`r` or `-`, `w` or `-`, `x` or `-`, `p` or `s`"),
       {"offset", inside(&R::mapping, &M::offset_bytes), "in the file or object, in bytes"},
       {"path", inside(&R::mapping, &M::path),
        "as `/proc/PID/maps` shows it, without ` (deleted)`"},
       {"flags", inside(&R::mapping, &M::flags),
        "`VmFlags` of `/proc/PID/smaps`, two letters each"},
       Field::as<image::Named<kBackings>>("backing", &R::backing, "`kernel`: vdso, vvar"),
       {"shared", &R::shared,
        "for `shared-anonymous`: which of `memory` among the [shared objects](#shared-objects) it "
        "shows"},
       {"segment", &R::segment, "only for System V shared memory", unusual},
       {"first_page_is_extra", &R::first_page_is_extra,
        "the first page is stored for tools only; the restore takes it from the file"},
       {"page_size", inside(&R::mapping, &M::page_bytes),
        "only for huge pages (`ht` in `flags`): in bytes, a power of two of which `start` and "
        "`end` are multiples",
        unusual},
       {"memory_policy", &R::policy, "only where there is one: mbind(2)", unusual},
       Field::as<image::List<proc::PageRun, Run>>(
           "guards", &R::guards, "start and end of guard pages (`MADV_GUARD_INSTALL`)"),
       {"file", &R::file, "for the two kinds that have one"}},
      check_region};
  return fields;
}

const image::Fields<MemoryBounds>& fields_of(const MemoryBounds* /*type*/) {
  using B = MemoryBounds;
  static const image::Fields<B> fields = {
      "bounds",
      {{"start_code", &B::start_code, "addresses, as in `struct prctl_mm_map`"},
       {"end_code", &B::end_code, ""},
       {"start_data", &B::start_data, ""},
       {"end_data", &B::end_data, ""},
       {"start_brk", &B::start_brk, ""},
       {"brk", &B::brk, ""},
       {"start_stack", &B::start_stack, ""},
       {"arg_start", &B::arg_start, ""},
       {"arg_end", &B::arg_end, ""},
       {"env_start", &B::env_start, ""},
       {"env_end", &B::env_end, ""}},
      [](B& bounds) {
        for (const Addr each : {bounds.start_code, bounds.end_code, bounds.start_data,
                                bounds.end_data, bounds.start_brk, bounds.brk, bounds.start_stack,
                                bounds.arg_start, bounds.arg_end, bounds.env_start, bounds.env_end})
          check_address(each);
      }};
  return fields;
}

const image::Fields<AddressSpace>& fields_of(const AddressSpace* /*type*/) {
  using enum image::Presence;
  static const image::Fields<AddressSpace> fields = {
      "memory",
      {{"mappings", &AddressSpace::regions,
        "in ascending order of addresses, without overlap, without `[vsyscall]`"},
       {"bounds", &AddressSpace::bounds, ""},
       {"auxv", &AddressSpace::auxv, "the auxiliary vector, at most 4096 bytes"},
       {"vdso_kernel", &AddressSpace::vdso_kernel,
        "the release of the kernel that the vdso is of: not the `host`'s if the program had been "
        "restored under another kernel; empty: the host's",
        later}},
      check_space};
  return fields;
}

const image::Fields<SharedMemory>& fields_of(const SharedMemory* /*type*/) {
  static const image::Fields<SharedMemory> fields = {
      "shared_memory", {{"name", &SharedMemory::name, "tells it from others"}}};
  return fields;
}

}  // namespace ckpt::state
