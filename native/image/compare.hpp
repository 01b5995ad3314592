// Looks through memory content: where two pieces differ, and where bytes occur in one.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace ckpt::image {

/// Offset and length of a run of bytes.
using ByteRun = std::pair<std::size_t, std::size_t>;

/// The runs in which `left` and `right` differ, in ascending order; an empty `right` stands for
/// zeros, else both have one length. Runs with fewer than `join_bytes` equal bytes between them are
/// one. At most `most` runs; the differences behind them are left out.
std::vector<ByteRun> differing_runs(std::span<const std::byte> left,
                                    std::span<const std::byte> right, std::size_t join_bytes,
                                    std::size_t most);

/// Where `wanted` (not empty) first occurs in `bytes` at or after `from`.
std::optional<std::size_t> find_bytes(std::span<const std::byte> bytes,
                                      std::span<const std::byte> wanted, std::size_t from);

}  // namespace ckpt::image
