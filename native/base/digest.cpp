#include "base/digest.hpp"

#include <unistd.h>
#ifndef CKPT_XXHASH_DISPATCH
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>
#ifdef CKPT_XXHASH_DISPATCH
#include <xxh_x86dispatch.h>  // renames the functions of above
#endif

#include <cerrno>
#include <memory>
#include <vector>

#include "base/error.hpp"

namespace ckpt {

namespace {

std::string hex(XXH128_hash_t hash) {
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace

std::uint64_t digest64(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

Digest64::Digest64() : state_(XXH3_createState()) { reset(); }

void Digest64::reset() { XXH3_64bits_reset(static_cast<XXH3_state_t*>(state_.get())); }

void Digest64::update(std::span<const std::byte> bytes) {
  XXH3_64bits_update(static_cast<XXH3_state_t*>(state_.get()), bytes.data(), bytes.size());
}

std::uint64_t Digest64::value() const {
  return XXH3_64bits_digest(static_cast<const XXH3_state_t*>(state_.get()));
}

void Digest64::Free::operator()(void* state) const noexcept {
  XXH3_freeState(static_cast<XXH3_state_t*>(state));
}

std::string digest_hex(std::span<const std::byte> bytes) {
  return hex(XXH3_128bits(bytes.data(), bytes.size()));
}

std::string digest_file(int fd, const std::string& path, std::uint64_t& size_bytes) {
  constexpr std::size_t kChunkBytes = 1U << 20U;
  std::vector<std::byte> buffer(kChunkBytes);
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                       &XXH3_freeState);
  XXH3_128bits_reset(state.get());
  size_bytes = 0;
  for (;;) {
    const ssize_t n = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(size_bytes));
    if (n < 0) {
      if (errno == EINTR) continue;
      throw_errno(fmt::format("read {}", path), errno);
    }
    if (n == 0) break;
    XXH3_128bits_update(state.get(), buffer.data(), static_cast<std::size_t>(n));
    size_bytes += static_cast<std::uint64_t>(n);
  }
  return hex(XXH3_128bits_digest(state.get()));
}

}  // namespace ckpt
