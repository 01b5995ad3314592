#include "base/similar.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <map>
#include <optional>
#include <string_view>

namespace ckpt {

namespace {

using Words = std::vector<std::string_view>;

constexpr std::size_t kLeastLike = 3;
constexpr std::size_t kMostRanges = 6;
constexpr std::string_view kMarks = ":,;.)";

Words words_of(std::string_view line) {
  Words words;
  for (std::size_t at = 0; at <= line.size();) {
    const std::size_t end = std::min(line.find(' ', at), line.size());
    words.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

// What stands for a word that may be another one in lines that are alike: a number, a path, another
// with digits. Nothing for words that must be the same.
std::optional<char> kind_of(std::string_view word) {
  if (word.find('/') != word.npos) return '\1';
  if (word.find_first_of("0123456789") == word.npos) return std::nullopt;
  return word.find_first_not_of("0123456789") == word.npos ? '\2' : '\3';
}

// What lines that are alike have in common.
std::string skeleton_of(const Words& words) {
  std::string skeleton;
  for (const std::string_view word : words) {
    const std::size_t end = word.find_last_not_of(kMarks) + 1;  // 0: there is nothing else
    const auto kind = kind_of(word.substr(0, end));
    if (kind)
      skeleton.append(1, *kind).append(word.substr(end));
    else
      skeleton.append(word);
    skeleton.append(" ");
  }
  return skeleton;
}

struct Number {
  std::uint64_t value = 0;
  std::string_view marks;  // behind it
};
std::optional<Number> number_of(std::string_view word) {
  Number number;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number.value);
  if (error != std::errc{}) return std::nullopt;
  number.marks = word.substr(static_cast<std::size_t>(end - word.data()));
  if (number.marks.find_first_not_of(kMarks) != number.marks.npos) return std::nullopt;
  return number;
}

// "3-7, 9, 12"
std::string ranges_of(std::vector<std::uint64_t> values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  std::string text;
  std::size_t ranges = 0;
  for (std::size_t i = 0; i < values.size(); ++ranges) {
    std::size_t last = i;
    while (last + 1 < values.size() && values[last + 1] == values[last] + 1) ++last;
    if (ranges == kMostRanges) return fmt::format("{} and {} more", text, values.size() - i);
    text += ranges == 0 ? "" : ", ";
    text +=
        last == i ? fmt::format("{}", values[i]) : fmt::format("{}-{}", values[i], values[last]);
    i = last + 1;
  }
  return text;
}

std::string numbers_as_one(const std::vector<Number>& numbers, bool is_name) {
  std::vector<std::uint64_t> values(numbers.size());
  std::transform(numbers.begin(), numbers.end(), values.begin(),
                 [](const Number& number) { return number.value; });
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  const auto text = is_name ? ranges_of(values) : fmt::format("{}-{}", *least, *most);
  return fmt::format("{}{}", text, numbers.front().marks);
}

std::string_view common_begin(std::string_view a, std::string_view b) {
  const auto [end, other] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return a.substr(0, static_cast<std::size_t>(end - a.begin()));
}

// What all of the words begin with, up to the end of a part, and the mark at the end.
std::string words_as_one(const Words& words) {
  std::string_view begin = words.front();
  for (const std::string_view word : words) begin = common_begin(begin, word);
  const std::size_t part = begin.find_last_of("/:.-");
  const std::string_view first = words.front();
  const std::size_t end = first.find_last_not_of(kMarks);
  return fmt::format("{}...{}", begin.substr(0, part == begin.npos ? 0 : part + 1),
                     end == first.npos ? "" : first.substr(end + 1));
}

// `is_name`: what is different first is which object a line is about.
std::string as_one(const Words& words, bool is_name) {
  const bool same = std::all_of(words.begin(), words.end(),
                                [&](std::string_view word) { return word == words.front(); });
  if (same) return std::string(words.front());
  std::vector<Number> numbers;
  for (const std::string_view word : words)
    if (const auto number = number_of(word)) numbers.push_back(*number);
  return numbers.size() == words.size() ? numbers_as_one(numbers, is_name) : words_as_one(words);
}

std::string merged(const std::vector<Words>& lines) {
  std::string text;
  bool is_name = true;
  for (std::size_t i = 0; i < lines.front().size(); ++i) {
    Words column;
    for (const Words& line : lines) column.push_back(line[i]);
    const auto word = as_one(column, is_name);
    if (word != column.front()) is_name = false;
    text.append(i == 0 ? "" : " ").append(word);
  }
  return fmt::format("{} ({} like this)", text, lines.size());
}

}  // namespace

std::vector<std::string> merge_similar(std::span<const std::string> lines) {
  std::map<std::string, std::vector<Words>> alike;
  std::vector<std::string> skeletons;
  for (const std::string& line : lines) {
    const auto words = words_of(line);
    alike[skeletons.emplace_back(skeleton_of(words))].push_back(words);
  }
  std::vector<std::string> result;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    auto& same = alike.at(skeletons[i]);
    if (same.size() < kLeastLike && !same.empty()) {
      result.push_back(lines[i]);
    } else if (!same.empty()) {
      result.push_back(merged(same));
      same.clear();
    }
  }
  return result;
}

}  // namespace ckpt
