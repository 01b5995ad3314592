#include "base/io.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <vector>

#include "base/error.hpp"
#include "base/long_work.hpp"

namespace ckpt {

UniqueFd open_file(const std::string& path, int flags, unsigned mode) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) throw_errno(fmt::format("open {}", path), errno);
  return UniqueFd(fd);
}

UniqueFd duplicate(int fd, std::string_view what) {
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy) throw_errno(fmt::format("duplicate the descriptor of {}", what), errno);
  return copy;
}

bool pread_exact(int fd, std::span<std::byte> into, std::uint64_t offset, std::string_view what) {
  while (!into.empty()) {
    const ssize_t n = ::pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
    if (n < 0) {
      if (errno == EINTR) continue;
      throw_errno(fmt::format("read {}", what), errno);
    }
    if (n == 0) return false;
    into = into.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return true;
}

std::uint64_t next_data(int fd, std::uint64_t offset, std::uint64_t size_bytes) {
  if (offset >= size_bytes) return size_bytes;
  const off_t before = ::lseek(fd, 0, SEEK_CUR);
  const off_t data = ::lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
  const bool none = data < 0 && errno == ENXIO;
  ::lseek(fd, before, SEEK_SET);
  if (none) return size_bytes;
  return data < 0 ? offset : static_cast<std::uint64_t>(data);
}

std::uint64_t stored_bytes(int fd, std::uint64_t offset, std::uint64_t size_bytes) {
  const auto end = static_cast<off_t>(offset + size_bytes);
  std::uint64_t stored = 0;
  for (auto at = static_cast<off_t>(offset); at < end;) {
    const off_t data = ::lseek(fd, at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) return stored;  // a hole to the end
    const off_t hole = data < 0 ? -1 : ::lseek(fd, data, SEEK_HOLE);
    if (hole <= data) return stored + static_cast<std::uint64_t>(end - at);
    if (data >= end) return stored;
    stored += static_cast<std::uint64_t>(std::min(hole, end) - data);
    at = hole;
  }
  return stored;
}

void pwrite_all(int fd, std::span<const std::byte> bytes, std::uint64_t offset,
                std::string_view what) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0) {
      if (errno == EINTR) continue;
      throw_errno(fmt::format("write {}", what), errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
}

void write_all(int fd, std::string_view bytes, std::string_view what) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      throw_errno(fmt::format("write {}", what), errno);
    }
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

namespace {

std::string read_to_end(int fd, std::size_t limit_bytes, const std::string& path) {
  std::string text;
  // Not cleared: most files that are read here, thousands in /proc, are short.
  std::array<char, 65536> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init)
  for (;;) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      throw_errno(fmt::format("read {}", path), errno);
    }
    if (n == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(n));
    if (text.size() > limit_bytes)
      fail(ErrorKind::unsupported, "read {}: longer than {} bytes", path, limit_bytes);
  }
}

// Zeros stay holes.
void copy_by_hand(int from, int to, off_t begin, off_t end, std::string_view what) {
  constexpr std::size_t kBlockBytes = 64U << 10U;
  std::vector<std::byte> block(kBlockBytes);
  const std::vector<std::byte> zeros(kBlockBytes);
  while (begin < end) {
    tell_work(static_cast<std::uint64_t>(begin), static_cast<std::uint64_t>(end));
    const auto bytes =
        std::span(block).first(static_cast<std::size_t>(std::min<off_t>(end - begin, kBlockBytes)));
    if (!pread_exact(from, bytes, static_cast<std::uint64_t>(begin), what)) return;
    if (!std::equal(bytes.begin(), bytes.end(), zeros.begin()))
      pwrite_all(to, bytes, static_cast<std::uint64_t>(begin), what);
    begin += static_cast<off_t>(bytes.size());
  }
}

void copy_range(int from, int to, off_t begin, off_t end, std::string_view what) {
  off_t in = begin;
  off_t out = begin;
  constexpr off_t kMostAtOnce = off_t{256} << 20U;
  while (in < end) {
    tell_work(static_cast<std::uint64_t>(in), static_cast<std::uint64_t>(end));
    const auto left = static_cast<std::size_t>(std::min(end - in, kMostAtOnce));
    ssize_t n = ::copy_file_range(from, &in, to, &out, left, 0);
    // Not between all file systems, nor into all kinds of files.
    if (n < 0 && errno != EINTR && errno != EIO && errno != ENOSPC) {
      if (::lseek(to, out, SEEK_SET) < 0) throw_errno(fmt::format("copy {}", what), errno);
      n = ::sendfile(to, from, &in, left);
      out = in;
      // Not from hugetlbfs, which knows no holes either.
      if (n < 0 && errno == EINVAL) return copy_by_hand(from, to, in, end, what);
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno(fmt::format("copy {}", what), errno);
    if (n == 0) return;  // it became shorter
  }
}

}  // namespace

void copy_content(int from, int to, std::uint64_t size_bytes, std::string_view what) {
  if (::ioctl(to, FICLONE, from) == 0) return;
  const auto size = static_cast<off_t>(size_bytes);
  if (::ftruncate(to, size) != 0) throw_errno(fmt::format("copy {}", what), errno);
  for (off_t at = 0; at < size;) {
    off_t begin = ::lseek(from, at, SEEK_DATA);
    if (begin < 0 && errno == ENXIO) return;  // a hole to the end
    if (begin < 0) begin = at;
    off_t end = ::lseek(from, begin, SEEK_HOLE);
    if (end <= begin || end > size) end = size;
    copy_range(from, to, begin, end, what);
    at = end;
  }
}

void copy_content_in_place(int from, int to, std::uint64_t size_bytes, std::string_view what) {
  const auto size = static_cast<off_t>(size_bytes);
  if (::ftruncate(to, size) != 0) throw_errno(fmt::format("copy {}", what), errno);
  copy_by_hand(from, to, 0, size, what);
}

std::string read_file(const std::string& path, std::size_t limit_bytes) {
  const UniqueFd fd = open_file(path, O_RDONLY);
  return read_to_end(fd.get(), limit_bytes, path);
}

std::optional<std::string> try_read_file(const std::string& path) {
  try {
    return read_file(path);
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::optional<std::string> try_read_link(const std::string& path) {
  std::array<char, PATH_MAX + 1> buffer{};
  const ssize_t n = ::readlink(path.c_str(), buffer.data(), buffer.size());
  if (n < 0) return std::nullopt;
  return std::string(buffer.data(), static_cast<std::size_t>(n));
}

}  // namespace ckpt
