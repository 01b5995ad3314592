// Small, strict pieces for parsing the kernel's text files. Every function takes text and gives
// a value or nothing; none reads a file.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace ckpt::proc {

template <typename Int>
std::optional<Int> parse_number(std::string_view text, int base = 10) {
  Int value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

/// Cuts the text up to `separator` off the front (all of it if there is none).
inline std::string_view cut(std::string_view& text, char separator) {
  const auto at = text.find(separator);
  const std::string_view head = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + 1);
  return head;
}

/// Skips blanks and tabs at the front.
inline void skip_blanks(std::string_view& text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
}

/// The next blank-separated word.
inline std::string_view next_word(std::string_view& text) {
  skip_blanks(text);
  const auto at = text.find_first_of(" \t");
  const std::string_view head = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size() : at);
  return head;
}

/// What stands behind "NAME:" at the beginning of a line, without blanks around it.
inline std::optional<std::string_view> field(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    std::string_view value = cut(text, '\n');
    if (cut(value, ':') != name) continue;
    skip_blanks(value);
    return value;
  }
  return std::nullopt;
}

template <typename Int>
std::optional<Int> number_field(std::string_view text, std::string_view name, int base = 10) {
  const auto value = field(text, name);
  return value ? parse_number<Int>(*value, base) : std::nullopt;
}

}  // namespace ckpt::proc
