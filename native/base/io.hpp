// Whole reads and writes: what the kernel does in pieces, done to the end or failed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/unique_fd.hpp"

namespace ckpt {

/// Opens a file with O_CLOEXEC added. Throws Error naming the path.
UniqueFd open_file(const std::string& path, int flags, unsigned mode = 0);

/// Another descriptor of an open file, with O_CLOEXEC. Throws Error naming the file by `what`.
UniqueFd duplicate(int fd, std::string_view what);

/// Where a file of that size has bytes next, at `offset` or behind it; the size if it has none. The
/// position stays.
std::uint64_t next_data(int fd, std::uint64_t offset, std::uint64_t size_bytes);

/// Reads exactly `into.size()` bytes at `offset`; returns false at a premature end of file.
bool pread_exact(int fd, std::span<std::byte> into, std::uint64_t offset, std::string_view what);

/// How many of the bytes from `offset` on are stored, and no hole in the file. All of them where
/// the file system knows no holes. Moves the file's position.
std::uint64_t stored_bytes(int fd, std::uint64_t offset, std::uint64_t size_bytes);

/// Writes everything at `offset`.
void pwrite_all(int fd, std::span<const std::byte> bytes, std::uint64_t offset,
                std::string_view what);
/// Writes everything at the current position.
void write_all(int fd, std::string_view bytes, std::string_view what);

/// Copies the content of a file into an empty one; holes stay holes. The position of `from` is
/// lost.
void copy_content(int from, int to, std::uint64_t size_bytes, std::string_view what);
/// The same, slower, but the position of `from` stays as it is.
void copy_content_in_place(int from, int to, std::uint64_t size_bytes, std::string_view what);

/// The whole of a (small) file, at most `limit_bytes`.
std::string read_file(const std::string& path, std::size_t limit_bytes = 64U << 20U);
/// The same, or nothing when it cannot be opened or read.
std::optional<std::string> try_read_file(const std::string& path);

/// Where a symbolic link points, or nothing.
std::optional<std::string> try_read_link(const std::string& path);

}  // namespace ckpt
