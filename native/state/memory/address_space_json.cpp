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

std::string_view backing_name(Backing backing) {
  for (const auto& [value, name] : kBackings)
    if (value == backing) return name;
  return "";
}

Backing backing_from(const std::string& text) {
  for (const auto& [value, name] : kBackings)
    if (name == text) return value;
  image::damaged("the kind of a mapping");
}

image::Json runs_to_json(const std::vector<proc::PageRun>& runs) {
  auto list = image::Json::array();
  for (const auto& run : runs) list.push_back({run.start.value, run.end.value});
  return list;
}

Addr address(const image::Json& json) {
  const Addr value{json.get<std::uint64_t>()};
  if (value.value > kTopOfUserSpace) image::damaged("an address");
  return value;
}

std::vector<proc::PageRun> runs_from_json(const image::Json& json, const proc::Mapping& inside) {
  std::vector<proc::PageRun> runs;
  for (const auto& item : json) {
    const proc::PageRun run{address(item.at(0)), address(item.at(1))};
    if (run.start >= run.end || run.start < inside.start || run.end > inside.end ||
        run.start.value % kPageSize != 0 || run.end.value % kPageSize != 0)
      image::damaged("a run of pages");
    runs.push_back(run);
  }
  return runs;
}

std::string protection_text(const proc::Mapping& map) {
  std::string text = "---p";
  if (map.read) text[0] = 'r';
  if (map.write) text[1] = 'w';
  if (map.exec) text[2] = 'x';
  if (map.shared) text[3] = 's';
  return text;
}

Region region_from_json(const image::Json& json, std::size_t shared) {
  Region region;
  proc::Mapping& map = region.mapping;
  map.start = address(json.at("start"));
  map.end = address(json.at("end"));
  if (map.start >= map.end || map.start.value % kPageSize != 0 || map.end.value % kPageSize != 0)
    image::damaged("a mapping");
  const auto prot = json.at("prot").get<std::string>();
  if (prot.size() != 4) image::damaged("a mapping's protection");
  map.read = prot[0] == 'r';
  map.write = prot[1] == 'w';
  map.exec = prot[2] == 'x';
  map.shared = prot[3] == 's';
  map.offset_bytes = json.at("offset");
  if (map.offset_bytes % kPageSize != 0 || map.offset_bytes > kTopOfUserSpace)
    image::damaged("a mapping's offset");
  map.path = json.at("path");
  map.flags = json.at("flags").get<std::vector<std::string>>();
  map.page_bytes = huge_page_from_json(json, "page_size");
  if (map.page_bytes == 0) map.page_bytes = kPageSize;
  if (map.start.value % map.page_bytes != 0 || map.end.value % map.page_bytes != 0)
    image::damaged("a mapping of huge pages");
  region.backing = backing_from(json.at("backing"));
  if (!json.at("shared").is_null()) region.shared = json.at("shared").get<std::size_t>();
  if (region.shared.has_value() != (region.backing == Backing::shared_anonymous) ||
      (region.shared && *region.shared >= shared))
    image::damaged("which memory a mapping shares");
  region.first_page_is_extra = json.at("first_page_is_extra");
  region.guards = runs_from_json(json.at("guards"), map);
  if (json.contains("segment")) region.segment = sysv_segment_from_json(json.at("segment"));
  if (json.contains("memory_policy"))
    region.policy = memory_policy_from_json(json.at("memory_policy"));
  if (!json.at("file").is_null()) region.file = kept_file_from_json(json.at("file"));
  const bool needs_file =
      region.backing == Backing::private_file || region.backing == Backing::shared_file;
  if (needs_file != region.file.has_value()) image::damaged("a mapping's file");
  return region;
}

}  // namespace

image::Json address_space_to_json(const AddressSpace& space) {
  auto regions = image::Json::array();
  for (const Region& region : space.regions) {
    const proc::Mapping& map = region.mapping;
    regions.push_back({{"start", map.start.value},
                       {"end", map.end.value},
                       {"prot", protection_text(map)},
                       {"offset", map.offset_bytes},
                       {"path", map.path},
                       {"flags", map.flags},
                       {"backing", backing_name(region.backing)},
                       {"shared", region.shared ? image::Json(*region.shared) : image::Json()},
                       {"first_page_is_extra", region.first_page_is_extra},
                       {"guards", runs_to_json(region.guards)},
                       {"file", region.file ? kept_file_to_json(*region.file) : image::Json()}});
    if (map.has_flag("ht")) regions.back()["page_size"] = map.page_bytes;
    if (region.policy.mode != 0)
      regions.back()["memory_policy"] = memory_policy_to_json(region.policy);
    if (region.segment) regions.back()["segment"] = sysv_segment_to_json(*region.segment);
  }
  const MemoryBounds& bounds = space.bounds;
  return {{"mappings", std::move(regions)},
          {"bounds",
           {{"start_code", bounds.start_code.value},
            {"end_code", bounds.end_code.value},
            {"start_data", bounds.start_data.value},
            {"end_data", bounds.end_data.value},
            {"start_brk", bounds.start_brk.value},
            {"brk", bounds.brk.value},
            {"start_stack", bounds.start_stack.value},
            {"arg_start", bounds.arg_start.value},
            {"arg_end", bounds.arg_end.value},
            {"env_start", bounds.env_start.value},
            {"env_end", bounds.env_end.value}}},
          {"vdso_kernel", space.vdso_kernel},
          {"auxv", image::pack_bytes(space.auxv.data(), space.auxv.size())}};
}

image::Json shared_memory_to_json(const std::vector<SharedMemory>& shared) {
  auto list = image::Json::array();
  for (const SharedMemory& memory : shared) list.push_back({{"name", memory.name}});
  return list;
}

std::vector<SharedMemory> shared_memory_from_json(const image::Json& json) {
  std::vector<SharedMemory> shared;
  for (const auto& item : json) shared.push_back({item.at("name")});
  return shared;
}

AddressSpace address_space_from_json(const image::Json& json, std::size_t shared) {
  AddressSpace space;
  for (const auto& item : json.at("mappings")) {
    space.regions.push_back(region_from_json(item, shared));
    if (space.regions.size() > 1 &&
        space.regions[space.regions.size() - 2].mapping.end > space.regions.back().mapping.start)
      image::damaged("the order of the mappings");
  }
  const auto& bounds = json.at("bounds");
  const auto bound = [&](const char* name) { return address(bounds.at(name)); };
  space.bounds = {bound("start_code"), bound("end_code"),  bound("start_data"),  bound("end_data"),
                  bound("start_brk"),  bound("brk"),       bound("start_stack"), bound("arg_start"),
                  bound("arg_end"),    bound("env_start"), bound("env_end")};
  space.vdso_kernel = json.value("vdso_kernel", "");
  space.auxv = image::unpack_bytes(json.at("auxv"));
  if (space.auxv.size() > kPageSize || space.auxv.size() % 16 != 0)
    image::damaged("the auxiliary vector");
  return space;
}

}  // namespace ckpt::state
