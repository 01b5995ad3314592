// The snapshot file: an ELF core file (ET_CORE, x86-64) that any debugger opens, with one more note
// that holds what a core file has no place for. docs/format.md is the normative text.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/types.hpp"

namespace ckpt::image {

using Json = nlohmann::json;

inline constexpr std::uint32_t kFormatVersion = 2;
inline constexpr std::string_view kCreator = "gdb-ckpt " CKPT_VERSION;
inline constexpr std::string_view kNoteOwner = "CKPT";
inline constexpr std::uint32_t kRecordNoteType = 1;

struct Note {
  std::string owner;
  std::uint32_t type = 0;
  std::vector<std::byte> content;
};

/// One PT_LOAD. Bytes past `file_bytes` have no place in the file.
struct Segment {
  Addr start;
  std::uint64_t memory_bytes = 0;
  std::uint64_t file_bytes = 0;
  std::uint32_t flags = 0;  // PF_R | PF_W | PF_X
  std::uint64_t file_offset = 0;
};

/// Bytes of memory that stand in the file; everything else of an anonymous mapping is zero, and
/// everything else of a file's mapping is in the file.
struct Extent {
  Addr start;
  std::uint64_t file_offset = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t digest = 0;  // XXH3-64 of the bytes
};

/// Head of the CKPT note's content, followed by the record as CBOR.
struct RecordHead {
  std::uint32_t version = kFormatVersion;
  std::uint32_t reserved = 0;
  std::uint64_t record_digest = 0;    // XXH3-64 of the CBOR
  std::uint64_t surround_digest = 0;  // XXH3-64 of ELF header, program headers and the other notes
};
static_assert(sizeof(RecordHead) == 24);

/// Extents as the record holds them: 32 bytes each, little-endian.
std::vector<std::byte> pack_extents(const std::vector<Extent>& extents);
/// Throws Error (damaged) when the length is not a whole number of extents.
std::vector<Extent> unpack_extents(const std::vector<std::uint8_t>& bytes);

/// Bytes in a record.
Json pack_bytes(const void* data, std::size_t size_bytes);
/// Throws Error (damaged) when the value holds something else.
std::vector<std::byte> unpack_bytes(const Json& value);
/// The same, where they are kept as a string.
std::string unpack_string(const Json& value);

/// A plain struct that went through pack_bytes. Throws Error (damaged) on a wrong length.
template <typename T>
T unpack_struct(const Json& value, std::string_view what);

[[noreturn]] void damaged(std::string_view what);

template <typename T>
T unpack_struct(const Json& value, std::string_view what) {
  const auto bytes = unpack_bytes(value);
  if (bytes.size() != sizeof(T)) damaged(what);
  T out{};
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::byte*>(&out));
  return out;
}

}  // namespace ckpt::image
