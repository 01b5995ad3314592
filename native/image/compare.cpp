#include "image/compare.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.hpp"

namespace ckpt::image {

namespace {

constexpr std::size_t kComparedBytes = 4096;
constexpr std::array<std::byte, kComparedBytes> kZeros{};

}  // namespace

std::vector<ByteRun> differing_runs(std::span<const std::byte> left,
                                    std::span<const std::byte> right, std::size_t join_bytes,
                                    std::size_t most) {
  if (!right.empty() && left.size() != right.size())
    fail(ErrorKind::usage, "contents of {} and {} bytes cannot be compared", left.size(),
         right.size());
  std::vector<ByteRun> runs;
  for (std::size_t block = 0; block < left.size(); block += kComparedBytes) {
    const std::size_t size = std::min(kComparedBytes, left.size() - block);
    const std::byte* a = left.data() + block;
    const std::byte* b = right.empty() ? kZeros.data() : right.data() + block;
    if (std::memcmp(a, b, size) == 0) continue;
    for (std::size_t i = 0; i < size; ++i) {
      if (a[i] == b[i]) continue;
      const std::size_t at = block + i;
      if (!runs.empty() &&
          at - (runs.back().first + runs.back().second) < std::max<std::size_t>(join_bytes, 1)) {
        runs.back().second = at + 1 - runs.back().first;
        continue;
      }
      if (runs.size() == most) return runs;
      runs.emplace_back(at, 1);
    }
  }
  return runs;
}

std::optional<std::size_t> find_bytes(std::span<const std::byte> bytes,
                                      std::span<const std::byte> wanted, std::size_t from) {
  if (from > bytes.size() || wanted.empty()) return std::nullopt;
  const auto rest = bytes.subspan(from);
  const void* found = ::memmem(rest.data(), rest.size(), wanted.data(), wanted.size());
  if (found == nullptr) return std::nullopt;
  return static_cast<std::size_t>(static_cast<const std::byte*>(found) - bytes.data());
}

}  // namespace ckpt::image
