#include "base/digest.hpp"

#include <sys/stat.h>
#include <unistd.h>
#ifndef CKPT_XXHASH_DISPATCH
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>
#ifdef CKPT_XXHASH_DISPATCH
#include <xxh_x86dispatch.h>  // renames the functions of above
#endif

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "base/error.hpp"
#include "base/io.hpp"
#include "base/long_work.hpp"

namespace ckpt {

namespace {

std::string hex(XXH128_hash_t hash) {
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

constexpr std::size_t kChunkBytes = 1U << 20U;
constexpr std::uint64_t kLargeBytes = 4ULL << 30U;

// Of a buffer, of a file.
class Digest128 {
 public:
  Digest128() : state_(XXH3_createState(), &XXH3_freeState) { XXH3_128bits_reset(state_.get()); }
  void update(const void* bytes, std::size_t size) {
    XXH3_128bits_update(state_.get(), bytes, size);
  }
  void update(std::uint64_t number) { update(&number, sizeof number); }
  [[nodiscard]] std::string text() const { return hex(XXH3_128bits_digest(state_.get())); }

 private:
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_;
};

std::uint64_t size_of(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

std::string digest_all(int fd, const std::string& path, std::uint64_t& size_bytes) {
  std::vector<std::byte> buffer(kChunkBytes);
  Digest128 digest;
  const std::uint64_t expected_bytes = size_of(fd);
  size_bytes = 0;
  for (;;) {
    if (size_bytes != 0) tell_work(size_bytes, std::max(size_bytes, expected_bytes));
    const ssize_t n = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(size_bytes));
    if (n < 0) {
      if (errno == EINTR) continue;
      throw_errno(fmt::format("read {}", path), errno);
    }
    if (n == 0) return digest.text();
    digest.update(buffer.data(), static_cast<std::size_t>(n));
    size_bytes += static_cast<std::uint64_t>(n);
  }
}

std::string digest_nonzero(int fd, const std::string& path, std::uint64_t size_bytes) {
  std::vector<std::byte> buffer(kChunkBytes);
  const std::vector<std::byte> zeros(kChunkBytes);
  Digest128 digest;
  digest.update(size_bytes);
  for (auto at = next_data(fd, 0, size_bytes); at < size_bytes;
       at = next_data(fd, at, size_bytes)) {
    at -= at % kChunkBytes;
    tell_work(at, size_bytes);
    const auto bytes = std::span(buffer).first(std::min(kChunkBytes, size_bytes - at));
    if (!pread_exact(fd, bytes, at, path))
      fail(ErrorKind::files, "{}: it became shorter while it was being read", path);
    if (std::memcmp(bytes.data(), zeros.data(), bytes.size()) != 0) {
      digest.update(at);
      digest.update(bytes.data(), bytes.size());
    }
    at += bytes.size();
  }
  return digest.text();
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
  size_bytes = size_of(fd);
  return size_bytes > kLargeBytes ? digest_nonzero(fd, path, size_bytes)
                                  : digest_all(fd, path, size_bytes);
}

bool has_digest(int fd, const std::string& path, const std::string& digest) {
  std::uint64_t size_bytes = 0;
  if (digest_file(fd, path, size_bytes) == digest) return true;
  return size_bytes > kLargeBytes && digest_all(fd, path, size_bytes) == digest;
}

}  // namespace ckpt
