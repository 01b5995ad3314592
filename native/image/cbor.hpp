// Looks over CBOR (RFC 8949) before it is parsed.
//
// nlohmann::json decodes CBOR recursively, and strings of indefinite length can be nested there
// without an event that a SAX handler could stop at: two megabytes of 0x5f overflow the stack. A
// snapshot is untrusted, so its record is first walked here, with a stack of its own. What our
// writer never emits (indefinite lengths, tags) is refused, which keeps the walk simple.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ckpt::image {

/// What a parser may be given. An item of one byte takes a hundred when it is parsed.
struct CborLimits {
  std::size_t deepest = 64;                    // levels of arrays and maps
  std::uint64_t most_items = UINT64_MAX;       // of any kind, keys among them
  std::uint64_t most_containers = UINT64_MAX;  // arrays and maps
};

/// Whether `bytes` are exactly one CBOR item, complete, all lengths definite, without tags, and
/// within the limits.
bool is_plain_cbor(std::span<const std::byte> bytes, const CborLimits& limits);

}  // namespace ckpt::image
