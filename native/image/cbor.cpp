#include "image/cbor.hpp"

#include <cstdint>
#include <vector>

namespace ckpt::image {

namespace {

// RFC 8949, section 3.1.
enum class Major : unsigned { number, negative, bytes, text, array, map, tag, simple };

}  // namespace

bool is_plain_cbor(std::span<const std::byte> bytes, const CborLimits& limits) {
  // How many items are still to come, at each level that is open; the whole is one item.
  std::vector<std::uint64_t> open = {1};
  std::size_t at = 0;
  std::uint64_t items = 0;
  std::uint64_t containers = 0;
  while (!open.empty()) {
    if (open.back() == 0) {
      open.pop_back();
      continue;
    }
    --open.back();
    if (at == bytes.size() || ++items > limits.most_items) return false;
    const auto first = std::to_integer<unsigned>(bytes[at++]);
    const auto major = static_cast<Major>(first >> 5U);
    const unsigned info = first & 0x1fU;
    std::uint64_t value = info;
    if (info >= 24) {
      if (info > 27) return false;  // reserved, or of indefinite length
      const std::size_t width = std::size_t{1} << (info - 24U);
      if (bytes.size() - at < width) return false;
      value = 0;
      for (std::size_t i = 0; i < width; ++i)
        value = value << 8U | std::to_integer<std::uint64_t>(bytes[at++]);
    }
    // Each item takes at least one byte, so no count can be larger than what is left.
    const std::uint64_t left = bytes.size() - at;
    switch (major) {
      case Major::number:
      case Major::negative:
      case Major::simple: break;
      case Major::bytes:
      case Major::text:
        if (value > left) return false;
        at += value;
        break;
      case Major::array:
      case Major::map:
        if (value > left || open.size() > limits.deepest) return false;
        if (++containers > limits.most_containers) return false;
        open.push_back(major == Major::map ? 2 * value : value);
        break;
      case Major::tag: return false;
    }
  }
  return at == bytes.size();
}

}  // namespace ckpt::image
