#include "store/names.hpp"

#include <algorithm>
#include <cstdint>

#include "base/error.hpp"
#include "base/printable.hpp"

namespace ckpt::store {

namespace {

bool is_blank(char32_t code) {
  return code == ' ' || code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) ||
         code == 0x202f || code == 0x205f || code == 0x3000;
}

/// Of one word: neither blanks nor what could drive the terminal, and nothing that is no UTF-8.
bool is_word(std::string_view text) {
  while (!text.empty()) {
    const auto character = first_character(text);
    if (!character || is_blank(character->code) || drives_terminal(character->code)) return false;
    text.remove_prefix(character->bytes);
  }
  return true;
}

/// Whether it may stand in a name that we make.
bool is_plain(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("._+-").find(c) != std::string_view::npos;
}

/// The number in STEM-N; 0 for another name.
std::uint64_t number_behind(const std::string& stem, const std::string& name) {
  constexpr std::size_t kMostDigits = 9;
  if (!name.starts_with(stem + "-")) return 0;
  const std::string number = name.substr(stem.size() + 1);
  if (number.empty() || number.size() > kMostDigits ||
      number.find_first_not_of("0123456789") != std::string::npos)
    return 0;
  return std::stoul(number);
}

}  // namespace

void check_name(const std::string& name) {
  if (name.empty()) fail(ErrorKind::usage, "the name is empty");
  if (name.find('/') != std::string::npos)
    fail(ErrorKind::usage, R"(a name cannot contain "/": "{}" (-o FILE writes a file elsewhere))",
         name);
  if (name.front() == '-' || name.front() == '.')
    fail(ErrorKind::usage, R"(a name cannot begin with "{}": "{}")", name.front(), name);
  if (!is_word(name))
    fail(ErrorKind::usage, "a name is one word of printable characters, not \"{}\"",
         printable(name));
  if (name.size() > kNameLimit)
    fail(ErrorKind::usage, "a name has at most {} bytes, this one has {}", kNameLimit, name.size());
}

bool is_name(const std::string& name) {
  try {
    check_name(name);
    return true;
  } catch (const Error&) {
    return false;
  }
}

std::string stem_of(const std::string& program) {
  constexpr std::size_t kRoomForNumbers = 20;
  std::string_view rest(program);
  rest.remove_prefix(rest.rfind('/') + 1);
  std::string stem;
  while (!rest.empty()) {
    const auto character = first_character(rest);
    stem += is_plain(rest.front()) ? rest.front() : '_';
    rest.remove_prefix(character ? character->bytes : 1);
  }
  stem.erase(0, std::min(stem.find_first_not_of("-."), stem.size()));
  stem.resize(std::min(stem.size(), kNameLimit - kRoomForNumbers));
  return stem.empty() ? "program" : stem;
}

std::string next_name(const std::string& stem, const std::set<std::string>& taken) {
  std::uint64_t largest = 0;
  for (const std::string& name : taken) largest = std::max(largest, number_behind(stem, name));
  return fmt::format("{}-{}", stem, largest + 1);
}

std::string free_name(const std::string& name, const std::set<std::string>& taken) {
  std::string found = name;
  for (std::size_t number = 2; taken.contains(found); ++number)
    found = fmt::format("{}-{}", name, number);
  return is_name(found) ? found : "";
}

}  // namespace ckpt::store
