// Content digests (XXH3). Not cryptographic: they find damage and tell contents apart, they do not
// prove authorship.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace ckpt {

std::uint64_t digest64(std::span<const std::byte> bytes);

/// digest64() of bytes that come in pieces.
class Digest64 {
 public:
  Digest64();
  /// Forgets all bytes so far.
  void reset();
  void update(std::span<const std::byte> bytes);
  [[nodiscard]] std::uint64_t value() const;

 private:
  struct Free {
    void operator()(void* state) const noexcept;
  };
  std::unique_ptr<void, Free> state_;
};

/// 128-bit digest of a whole file's content as 32 hex digits, read through `fd` from offset 0.
/// `size_bytes` receives how much was read. Of more than 4 GiB it is the digest of what is not
/// zero, and where: holes cost nothing. Throws Error, also (interrupted): see long_work.hpp.
std::string digest_file(int fd, const std::string& path, std::uint64_t& size_bytes);
/// Whether that is the file's digest; also as earlier versions made that of large files.
bool has_digest(int fd, const std::string& path, const std::string& digest);

/// 128-bit digest of a buffer as 32 hex digits.
std::string digest_hex(std::span<const std::byte> bytes);

}  // namespace ckpt
