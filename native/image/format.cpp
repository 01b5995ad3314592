#include "image/format.hpp"

#include <cstring>
#include <span>

#include "base/error.hpp"

namespace ckpt::image {

static_assert(sizeof(Extent) == 32);

std::vector<std::byte> pack_extents(const std::vector<Extent>& extents) {
  const auto bytes = std::as_bytes(std::span(extents));
  return {bytes.begin(), bytes.end()};
}

std::vector<Extent> unpack_extents(const std::vector<std::uint8_t>& bytes) {
  if (bytes.size() % sizeof(Extent) != 0) damaged("the table of memory extents");
  std::vector<Extent> extents(bytes.size() / sizeof(Extent));
  if (!extents.empty()) std::memcpy(extents.data(), bytes.data(), bytes.size());
  return extents;
}

Json pack_bytes(const void* data, std::size_t size_bytes) {
  const auto* first = static_cast<const std::uint8_t*>(data);
  return Json::binary(std::vector<std::uint8_t>(first, first + size_bytes));
}

std::string unpack_string(const Json& value) {
  const auto bytes = unpack_bytes(value);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::byte> unpack_bytes(const Json& value) {
  if (!value.is_binary()) damaged("a field of bytes");
  const auto& bytes = value.get_binary();
  std::vector<std::byte> out(bytes.size());
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

void damaged(std::string_view what) {
  fail(ErrorKind::damaged, "the snapshot is damaged: {} cannot be right", what);
}

}  // namespace ckpt::image
