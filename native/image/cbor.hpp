// Looks over CBOR (RFC 8949) before it is parsed.
//
// nlohmann::json decodes CBOR recursively, and strings of indefinite length can be nested there
// without an event that a SAX handler could stop at: two megabytes of 0x5f overflow the stack. A
// snapshot is untrusted, so its record is first walked here, with a stack of its own. What our
// writer never emits (indefinite lengths, tags) is refused, which keeps the walk simple.
#pragma once

#include <cstddef>
#include <span>

namespace ckpt::image {

/// Whether `bytes` are exactly one CBOR item, complete, all lengths definite, without tags, and
/// arrays and maps nested at most `deepest` levels.
bool is_plain_cbor(std::span<const std::byte> bytes, std::size_t deepest);

}  // namespace ckpt::image
