#include "state/memory/huge_notes.hpp"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

namespace ckpt::state {

namespace {

constexpr std::string_view kEffect =
    "comes back with ordinary pages if no huge pages are free then";

}  // namespace

void note_huge_pages(Report& report, const DescriptorTable& table, const AddressSpace& space) {
  std::set<std::pair<std::uint64_t, std::uint64_t>> named;
  const auto name = [&](const KeptFile& file, const std::string& object) {
    // A file that has a name is the user's, and is opened again.
    if (file.huge_page_bytes == 0 || !file.deleted) return;
    if (!named.emplace(file.device, file.inode).second) return;
    report.add(Severity::note, object, "huge pages", fmt::format("{} {}", file.path, kEffect));
  };
  for (std::size_t i = 0; i < table.descriptions.size(); ++i) {
    const auto& description = table.descriptions[i];
    if (!description.file) continue;
    const auto known = std::find_if(table.descriptors.begin(), table.descriptors.end(),
                                    [&](const auto& one) { return one.description == i; });
    name(*description.file, known == table.descriptors.end()
                                ? std::string("a descriptor in a message")
                                : fmt::format("fd {}", known->fd));
  }
  std::set<std::size_t> shared;
  for (const Region& region : space.regions) {
    const proc::Mapping& map = region.mapping;
    if (!map.has_flag("ht")) continue;
    const std::string object = fmt::format("memory {}-{}", map.start, map.end);
    if (region.file) {
      name(*region.file, object);
    } else if (region.backing == Backing::anonymous) {
      report.add(Severity::note, object, "huge pages", std::string(kEffect));
    } else if (region.backing == Backing::shared_anonymous && !region.segment &&
               shared.insert(*region.shared).second) {
      if (is_in_one_piece(regions_sharing(space, *region.shared)))
        report.add(Severity::note, object, "huge pages", std::string(kEffect));
      else
        report.add(Severity::changed, object, "huge pages", "comes back without huge pages");
    }
  }
}

}  // namespace ckpt::state
