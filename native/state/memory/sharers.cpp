#include "state/memory/sharers.hpp"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/text.hpp"
#include "state/descriptors/kinds.hpp"
#include "state/descriptors/pipes.hpp"
#include "state/memory/name_cache.hpp"
#include "state/sockets/sockets.hpp"

namespace ckpt::state {

namespace {

using FileId = std::pair<dev_t, ino_t>;

// Something that more than one process can have.
struct Shareable {
  std::string object;  // as messages name it
  std::string kind;
  std::uint64_t mapped_bytes = 0;    // by the program
  std::optional<FileId> identity{};  // where a link in /proc/PID/fd does not tell one from another
  std::size_t others = 0;
  std::string first_other{};
};

std::optional<FileId> file_at(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return FileId{status.st_dev, status.st_ino};
}

FileId file_of(const proc::Mapping& map) {
  return {::makedev(map.dev_major, map.dev_minor), map.inode};
}

bool comes_back_as_copy(const KeptFile& file) { return file.deleted || file.in_memory; }

// The ids of pipes that the program both reads from and writes to.
std::set<std::uint64_t> pipes_with_both_ends(const DescriptorTable& table) {
  std::set<std::uint64_t> read;
  std::set<std::uint64_t> written;
  for (const Description& description : table.descriptions) {
    const auto* pipe = description.as<Pipe>();
    if (pipe == nullptr) continue;
    if (!writes_only(description.flags)) read.insert(pipe->id);
    if (!reads_only(description.flags)) written.insert(pipe->id);
  }
  std::erase_if(read, [&](std::uint64_t id) { return !written.contains(id); });
  return read;
}

// What the program has, and by what it is known among what others have.
class Shareables {
 public:
  void add(const CaptureContext& context, const DescriptorTable& table) {
    const auto inner_pipes = pipes_with_both_ends(table);
    for (const Descriptor& descriptor : table.descriptors) {
      const Description& description = table.descriptions[descriptor.description];
      const auto add = [&](std::string kind, const std::optional<FileId>& identity = {}) {
        add_link(description.path, descriptor.fd, std::move(kind), identity);
      };
      if (const auto* pipe = description.as<Pipe>()) {
        // One with a name comes back as the FIFO itself.
        if (!pipe->named && inner_pipes.contains(pipe->id)) add("pipe");
      } else if (const auto* socket = description.as<Socket>()) {
        if (socket->role != SocketRole::dead) add(std::string(family_name(*socket)));
      } else if (description.kind == &kinds::kPtySlave) {
        add("pseudoterminal", file_at(context.process.path(fmt::format("fd/{}", descriptor.fd))));
      } else if (description.file && comes_back_as_copy(*description.file)) {
        add("file", FileId{description.file->device, description.file->inode});
      }
    }
  }

  void add(const CaptureContext& context, const AddressSpace& space) {
    executable_ = context.process.link("exe");
    for (const Region& region : space.regions) {
      const proc::Mapping& map = region.mapping;
      const bool is_copy =
          region.backing == Backing::shared_file && region.file && comes_back_as_copy(*region.file);
      const bool is_nameless = region.backing == Backing::shared_anonymous && map.shared &&
                               !region.segment && !is_name_cache(map);
      if (is_copy || is_nameless) add_mapping(map, is_copy);
    }
  }

  [[nodiscard]] bool empty() const { return all_.empty(); }

  void look_into(Tid pid) {
    const proc::ProcessDir process(pid);
    std::set<std::size_t> found;
    if (!by_link_.empty()) look_at_descriptors(process, found);
    if (may_map(process)) look_at_mappings(process, found);
    for (const std::size_t index : found)
      if (Shareable& one = all_[index]; one.others++ == 0)
        one.first_other = fmt::format("process {} ({})", pid, process.comm(pid));
  }

  void tell(Report& report) const {
    for (const Shareable& one : all_) {
      if (one.others == 0) continue;
      const std::string who =
          one.others == 1 ? one.first_other + " has"
                          : fmt::format("{} and {} more have", one.first_other, one.others - 1);
      const std::string what = one.mapped_bytes == 0
                                   ? "comes back as"
                                   : fmt::format("{} KiB come back as", one.mapped_bytes >> 10U);
      report.add(Severity::changed, one.object, one.kind,
                 fmt::format("{} it, too: the program's {} its own", who, what));
    }
  }

 private:
  // Memory without a name is inherited alone, by those that execute nothing.
  [[nodiscard]] bool may_map(const proc::ProcessDir& process) const {
    return has_mapped_files_ || (!by_mapping_.empty() && process.link("exe") == executable_);
  }

  void add_link(const std::string& link, int fd, std::string kind,
                const std::optional<FileId>& identity) {
    const auto [first, last] = by_link_.equal_range(link);
    const auto known = std::find_if(
        first, last, [&](const auto& entry) { return all_[entry.second].identity == identity; });
    if (known != last) {
      all_[known->second].object += fmt::format(", {}", fd);
      return;
    }
    by_link_.emplace(link, all_.size());
    if (identity) by_file_.emplace(*identity, all_.size());
    all_.push_back({fmt::format("fd {}", fd), std::move(kind), 0, identity});
  }

  void add_mapping(const proc::Mapping& map, bool has_name) {
    const FileId file = file_of(map);
    const auto known = by_file_.find(file);
    const std::size_t index = known == by_file_.end() ? all_.size() : known->second;
    if (known == by_file_.end()) {
      by_file_.emplace(file, index);
      if (has_name) by_link_.emplace(map.path + " (deleted)", index);
      all_.push_back({fmt::format("memory {}-{}", map.start, map.end), "shared memory", 0, file});
    }
    by_mapping_.emplace(file, index);
    has_mapped_files_ = has_mapped_files_ || has_name;
    all_[index].mapped_bytes += map.size();
  }

  void look_at_descriptors(const proc::ProcessDir& process, std::set<std::size_t>& found) const {
    for (const auto& [fd, link] : process.descriptor_links()) {
      const auto [first, last] = by_link_.equal_range(link);
      for (auto entry = first; entry != last; ++entry) {
        const auto& identity = all_[entry->second].identity;
        if (!identity || identity == file_at(process.path(fmt::format("fd/{}", fd))))
          found.insert(entry->second);
      }
    }
  }

  // The text is long, and few words of it are of interest.
  void look_at_mappings(const proc::ProcessDir& process, std::set<std::size_t>& found) const {
    const std::string text = process.read("maps");
    std::string_view rest = text;
    while (!rest.empty()) {
      std::string_view line = proc::cut(rest, '\n');
      for (int i = 0; i < 3; ++i) proc::next_word(line);  // addresses, permissions, offset
      std::string_view device = proc::next_word(line);
      const auto inode = proc::parse_number<ino_t>(proc::next_word(line));
      if (!inode || *inode == 0) continue;
      const auto major = proc::parse_number<unsigned>(proc::cut(device, ':'), 16);
      const auto minor = proc::parse_number<unsigned>(device, 16);
      if (!major || !minor) continue;
      const auto known = by_mapping_.find({::makedev(*major, *minor), *inode});
      if (known != by_mapping_.end()) found.insert(known->second);
    }
  }

  std::vector<Shareable> all_;
  std::multimap<std::string, std::size_t, std::less<>> by_link_;  // as /proc/PID/fd shows it
  std::map<FileId, std::size_t> by_file_;
  std::map<FileId, std::size_t> by_mapping_;
  std::optional<std::string> executable_;
  bool has_mapped_files_ = false;
};

}  // namespace

void report_sharers(CaptureContext& context, const DescriptorTable& table,
                    const AddressSpace& space) {
  Shareables shareables;
  shareables.add(context, table);
  shareables.add(context, space);
  if (shareables.empty()) return;
  // We have duplicates of the program's descriptors ourselves.
  const std::set<Tid> ignored = {context.process.pid(), ::getpid()};
  for (const Tid pid : proc::all_processes()) {
    if (ignored.contains(pid)) continue;
    try {
      shareables.look_into(pid);
    } catch (const Error&) {
      continue;  // it has ended, or is not ours to look into
    }
  }
  shareables.tell(context.report);
}

}  // namespace ckpt::state
