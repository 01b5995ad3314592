// Changes what a snapshot says of itself without writing it anew.
#pragma once

#include <optional>
#include <string>

namespace ckpt::image {

struct Label {
  std::optional<std::string> name;
  std::optional<std::string> message;
};

/// Gives the snapshot at `path` another name or message in its record; nothing else of it changes.
/// At every moment the file is the old snapshot or the new one, also for who has it open, and after
/// a crash of the machine. Throws Error; the file is then the old one.
void relabel(const std::string& path, const Label& label);

}  // namespace ckpt::image
