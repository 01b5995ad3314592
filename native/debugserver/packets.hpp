// Packets of GDB's remote serial protocol ("Remote Protocol" in GDB's manual): framing, and the
// numbers and bytes in them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::debugserver {

/// "$...#cc", with what has a meaning escaped.
std::string framed(std::string_view content);

/// Finds packets in a stream of bytes.
class PacketReader {
 public:
  enum class Kind : std::uint8_t { none, packet, damaged, interrupt, acknowledged, repeat };
  void add(std::string_view bytes) { waiting_.append(bytes); }
  /// What comes first, with its content in `content`; `none`: it has not come as a whole.
  Kind take(std::string& content);
  /// Whether an interruption came along with the packet that was taken last.
  [[nodiscard]] bool has_interrupt() const;

 private:
  std::string waiting_;
};

std::string to_hex(std::span<const std::byte> bytes);
std::string to_hex(std::string_view text);
/// Nothing for what are no pairs of hexadecimal digits.
std::optional<std::vector<std::byte>> from_hex(std::string_view text);

/// Takes words off the front of a packet.
class Words {
 public:
  explicit Words(std::string_view rest) : rest_(rest) {}
  [[nodiscard]] std::string_view rest() const { return rest_; }
  /// Whether the rest begins with that, which is then taken.
  bool take(std::string_view word);
  /// A hexadecimal number; nothing if none is there.
  std::optional<std::uint64_t> number();

 private:
  std::string_view rest_;
};

/// The part of an object that a qXfer packet with "OFFSET,LENGTH" asks for, as its answer has it.
std::string part_of(std::string_view object, std::string_view range);

}  // namespace ckpt::debugserver
