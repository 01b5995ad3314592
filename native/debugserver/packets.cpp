#include "debugserver/packets.hpp"

#include <charconv>

#include <fmt/format.h>

namespace ckpt::debugserver {

namespace {

constexpr char kEscape = '}';
constexpr char kEscapeBit = 0x20;
constexpr char kInterrupt = 0x03;
constexpr std::size_t kChecksumDigits = 2;

unsigned checksum_of(std::string_view bytes) {
  unsigned sum = 0;
  for (const char byte : bytes) sum += static_cast<unsigned char>(byte);
  return sum % 256;
}

std::string escaped(std::string_view content) {
  std::string all;
  for (const char byte : content) {
    const bool special = byte == '$' || byte == '#' || byte == kEscape || byte == '*';
    if (special) all += kEscape;
    all += special ? static_cast<char>(byte ^ kEscapeBit) : byte;
  }
  return all;
}

std::string unescaped(std::string_view content) {
  std::string all;
  for (std::size_t i = 0; i < content.size(); ++i) {
    const bool special = content[i] == kEscape && i + 1 < content.size();
    all += special ? static_cast<char>(content[++i] ^ kEscapeBit) : content[i];
  }
  return all;
}

std::optional<std::uint64_t> hex_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, 16);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

std::string framed(std::string_view content) {
  const std::string safe = escaped(content);
  return fmt::format("${}#{:02x}", safe, checksum_of(safe));
}

PacketReader::Kind PacketReader::take(std::string& content) {
  while (!waiting_.empty() && waiting_.front() != '$') {
    const char first = waiting_.front();
    waiting_.erase(0, 1);
    if (first == kInterrupt) return Kind::interrupt;
    if (first == '+') return Kind::acknowledged;
    if (first == '-') return Kind::repeat;
  }
  const std::size_t end = waiting_.find('#');
  if (end == std::string::npos || waiting_.size() < end + 1 + kChecksumDigits) return Kind::none;
  const std::string_view inside = std::string_view(waiting_).substr(1, end - 1);
  const auto sum = hex_number(std::string_view(waiting_).substr(end + 1, kChecksumDigits));
  const bool good = sum == checksum_of(inside);
  content = unescaped(inside);
  waiting_.erase(0, end + 1 + kChecksumDigits);
  return good ? Kind::packet : Kind::damaged;
}

// While a motion is under way nothing else comes but acknowledgements.
bool PacketReader::has_interrupt() const { return waiting_.find(kInterrupt) != std::string::npos; }

std::string to_hex(std::span<const std::byte> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::byte byte : bytes) {
    text += kDigits[std::to_integer<unsigned>(byte) >> 4U];
    text += kDigits[std::to_integer<unsigned>(byte) & 15U];
  }
  return text;
}

std::string to_hex(std::string_view text) { return to_hex(std::as_bytes(std::span(text))); }

std::optional<std::vector<std::byte>> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const auto byte = hex_number(text.substr(i, 2));
    if (!byte) return std::nullopt;
    bytes.push_back(static_cast<std::byte>(*byte));
  }
  return bytes;
}

bool Words::take(std::string_view word) {
  if (!rest_.starts_with(word)) return false;
  rest_.remove_prefix(word.size());
  return true;
}

std::optional<std::uint64_t> Words::number() {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), number, 16);
  if (error != std::errc{}) return std::nullopt;
  rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
  return number;
}

std::string part_of(std::string_view object, std::string_view range) {
  Words words(range);
  const auto offset = words.number();
  if (!offset || !words.take(",")) return "E01";
  const auto length = words.number();
  if (!length) return "E01";
  if (*offset >= object.size()) return "l";
  const auto part = object.substr(*offset, *length);
  return (*offset + part.size() == object.size() ? "l" : "m") + std::string(part);
}

}  // namespace ckpt::debugserver
