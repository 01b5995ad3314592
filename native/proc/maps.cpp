#include "proc/maps.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "proc/text.hpp"

namespace ckpt::proc {

namespace {

// The kernel writes a newline in a path as \012 and nothing else escaped (seq_path with "\n").
std::string unescape(std::string_view path) {
  std::string out;
  while (!path.empty()) {
    if (path.substr(0, 4) == "\\012") {
      out += '\n';
      path.remove_prefix(4);
    } else {
      out += path.front();
      path.remove_prefix(1);
    }
  }
  return out;
}

[[noreturn]] void reject(std::string_view line) {
  fail(ErrorKind::unsupported, "/proc/PID/maps: cannot parse line \"{}\"", line);
}

// "55e0-55f0 r-xp 00002000 fe:00 247134     /usr/bin/cat"
Mapping parse_header(std::string_view line) {
  Mapping mapping;
  std::string_view rest = line;
  std::string_view range = next_word(rest);
  const std::string_view start_text = cut(range, '-');
  const auto start = parse_number<std::uint64_t>(start_text, 16);
  const auto end = parse_number<std::uint64_t>(range, 16);
  const std::string_view permissions = next_word(rest);
  const auto offset = parse_number<std::uint64_t>(next_word(rest), 16);
  std::string_view device = next_word(rest);
  const auto dev_major = parse_number<std::uint32_t>(cut(device, ':'), 16);
  const auto dev_minor = parse_number<std::uint32_t>(device, 16);
  const auto inode = parse_number<std::uint64_t>(next_word(rest));
  if (!start || !end || *start >= *end || *start % kPageSize != 0 || *end % kPageSize != 0 ||
      permissions.size() != 4 || !offset || !dev_major || !dev_minor || !inode)
    reject(line);
  const auto permission = [&](std::size_t index, char set, char clear) {
    if (permissions[index] != set && permissions[index] != clear) reject(line);
    return permissions[index] == set;
  };
  mapping.start = Addr{*start};
  mapping.end = Addr{*end};
  mapping.read = permission(0, 'r', '-');
  mapping.write = permission(1, 'w', '-');
  mapping.exec = permission(2, 'x', '-');
  mapping.shared = permission(3, 's', 'p');
  mapping.offset_bytes = *offset;
  mapping.dev_major = *dev_major;
  mapping.dev_minor = *dev_minor;
  mapping.inode = *inode;
  skip_blanks(rest);
  constexpr std::string_view kDeleted = " (deleted)";
  if (mapping.inode != 0 && rest.ends_with(kDeleted)) {
    mapping.deleted = true;
    rest.remove_suffix(kDeleted.size());
  }
  mapping.path = unescape(rest);
  return mapping;
}

// Details of smaps start with a capitalised key and a colon; headers with a hex digit.
bool is_detail(std::string_view line) {
  const auto colon = line.find(':');
  const auto blank = line.find(' ');
  return colon != std::string_view::npos && (blank == std::string_view::npos || colon < blank) &&
         line.front() >= 'A' && line.front() <= 'Z';
}

}  // namespace

bool Mapping::has_flag(std::string_view flag) const {
  return std::find(flags.begin(), flags.end(), flag) != flags.end();
}

bool Mapping::is_kernel_special() const {
  return path == "[vdso]" || path.starts_with("[vvar") || path == "[vsyscall]";
}

std::vector<Mapping> parse_maps(std::string_view text) {
  std::vector<Mapping> mappings;
  while (!text.empty()) {
    const std::string_view line = cut(text, '\n');
    if (line.empty()) continue;
    if (!is_detail(line)) {
      mappings.push_back(parse_header(line));
      if (mappings.size() > 1 && mappings[mappings.size() - 2].end > mappings.back().start)
        reject(line);
      continue;
    }
    if (mappings.empty()) reject(line);
    std::string_view rest = line;
    const std::string_view key = cut(rest, ':');
    if (key == "VmFlags") {
      for (auto word = next_word(rest); !word.empty(); word = next_word(rest))
        mappings.back().flags.emplace_back(word);
    } else if (key == "ProtectionKey") {
      const auto pkey = parse_number<int>(next_word(rest));
      if (!pkey) reject(line);
      mappings.back().protection_key = *pkey;
    } else if (key == "KernelPageSize") {
      const auto kilobytes = parse_number<std::uint32_t>(next_word(rest));
      if (!kilobytes) reject(line);
      mappings.back().page_bytes = std::uint64_t{*kilobytes} << 10U;
    }
  }
  return mappings;
}

}  // namespace ckpt::proc
