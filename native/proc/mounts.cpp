#include "proc/mounts.hpp"

#include <sys/sysmacros.h>

#include "proc/text.hpp"

namespace ckpt::proc {

namespace {

// The kernel writes blanks and the like as \ooo.
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                               (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

// "36 35 98:0 /root /place rw,noatime - ext3 /dev/root rw"
std::vector<Mount> parse_mounts(std::string_view text) {
  std::vector<Mount> mounts;
  while (!text.empty()) {
    std::string_view line = cut(text, '\n');
    const auto id = parse_number<int>(next_word(line));
    next_word(line);  // its parent
    std::string_view minor = next_word(line);
    const auto major_number = parse_number<unsigned>(cut(minor, ':'));
    const auto minor_number = parse_number<unsigned>(minor);
    next_word(line);  // its root
    if (!id || !major_number || !minor_number) continue;
    mounts.push_back(
        {*id, gnu_dev_makedev(*major_number, *minor_number), unescaped(next_word(line))});
  }
  return mounts;
}

}  // namespace ckpt::proc
