// Text of any bytes, and what of it may be shown.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace ckpt {

struct Character {
  char32_t code = 0;
  std::size_t bytes = 1;
};

/// The first character of `text`, which is not empty; nothing if that is no UTF-8.
std::optional<Character> first_character(std::string_view text);

/// Whether it is a control character, or turns the direction of the text or takes no room.
bool drives_terminal(char32_t code);

/// `text` with what could drive the terminal shown: "\n", "\x1b", and "\xff" for a byte that is no
/// UTF-8. Names of files and of threads may hold anything.
std::string printable(std::string_view text);

}  // namespace ckpt
