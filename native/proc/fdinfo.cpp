#include "proc/fdinfo.hpp"

#include "base/error.hpp"
#include "proc/text.hpp"

namespace ckpt::proc {

FdInfo parse_fdinfo(std::string_view text) {
  FdInfo info;
  info.text = text;
  bool saw_flags = false;
  while (!text.empty()) {
    const std::string_view line = cut(text, '\n');
    std::string_view value = line;
    const std::string_view key = cut(value, ':');
    skip_blanks(value);
    if (key == "pos") {
      const auto position = parse_number<std::int64_t>(value);
      if (!position) fail(ErrorKind::unsupported, "/proc/PID/fdinfo: cannot parse \"{}\"", line);
      info.position_bytes = static_cast<std::uint64_t>(*position);
    } else if (key == "flags") {
      const auto flags = parse_number<std::uint32_t>(value, 8);
      if (!flags) fail(ErrorKind::unsupported, "/proc/PID/fdinfo: cannot parse \"{}\"", line);
      info.flags = *flags;
      saw_flags = true;
    } else if (key == "lock") {
      info.locks.emplace_back(value);
    }
  }
  if (!saw_flags) fail(ErrorKind::unsupported, "/proc/PID/fdinfo: no flags line");
  return info;
}

}  // namespace ckpt::proc
