// "Host I/O Packets" and "File-I/O Remote Protocol Extension" in GDB's manual: numbers, flags and
// struct stat are the protocol's own.
#include "debugserver/host_files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>

#include <fmt/format.h>

namespace ckpt::debugserver {

namespace {

constexpr std::size_t kMostBytes = 0xf000;  // in one answer
constexpr std::size_t kMostOpen = 64;

// The protocol's numbers are those of Linux for what can happen here, but for the last.
std::string failed(int error_number) {
  constexpr int kUnknown = 9999;
  constexpr std::array kKnown = {EPERM,  ENOENT, EINTR,  EBADF,   EACCES, EFAULT,
                                 EBUSY,  EEXIST, ENODEV, ENOTDIR, EISDIR, EINVAL,
                                 ENFILE, EMFILE, EFBIG,  ENOSPC,  ESPIPE, EROFS};
  for (const int known : kKnown)
    if (known == error_number) return fmt::format("F-1,{:x}", known);
  return fmt::format("F-1,{:x}", error_number == ENAMETOOLONG ? 91 : kUnknown);
}

std::optional<std::string> path_in(Words& packet) {
  const auto text = packet.rest().substr(0, packet.rest().find(','));
  const auto bytes = from_hex(text);
  packet.take(text);
  if (!bytes) return std::nullopt;
  std::string path(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  return path.find('\0') == path.npos ? std::optional(std::move(path)) : std::nullopt;
}

void add_big_endian(std::string& to, std::uint64_t value, unsigned bytes) {
  constexpr unsigned kBitsInByte = 8;
  while (bytes-- > 0) to += static_cast<char>(value >> bytes * kBitsInByte);
}

std::string link_target(const std::string& path) {
  std::array<char, PATH_MAX> target{};
  const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
  if (size < 0) return failed(errno);
  return fmt::format("F{:x};", size) + std::string(target.data(), static_cast<std::size_t>(size));
}

}  // namespace

std::string HostFiles::answer(Words packet) {
  if (packet.take("setfs:")) return "F0";
  if (packet.take("open:")) return open(packet);
  if (packet.take("pread:")) return read(packet);
  if (packet.take("fstat:")) return status(packet);
  if (packet.take("close:")) return close(packet);
  if (packet.take("readlink:")) {
    const auto path = path_in(packet);
    return path ? link_target(*path) : failed(EINVAL);
  }
  for (const auto* const change : {"pwrite:", "unlink:"})
    if (packet.take(change)) return failed(EROFS);
  return {};
}

std::string HostFiles::open(Words packet) {
  const auto path = path_in(packet);
  const auto flags = packet.take(",") ? packet.number() : std::nullopt;
  if (!path || !flags) return failed(EINVAL);
  if (*flags != 0) return failed(EROFS);
  if (open_.size() >= kMostOpen) return failed(EMFILE);
  // A device or a pipe may wait for ever.
  UniqueFd fd(::open(path->c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return failed(errno);
  open_.emplace(next_, std::move(fd));
  return fmt::format("F{:x}", next_++);
}

// Takes the number of an open file.
HostFiles::Open::const_iterator HostFiles::find(Words& packet) const {
  const auto fd = packet.number();
  return fd && *fd <= INT_MAX ? open_.find(static_cast<int>(*fd)) : open_.end();
}

std::string HostFiles::read(Words packet) const {
  const auto found = find(packet);
  const auto count = packet.take(",") ? packet.number() : std::nullopt;
  const auto offset = packet.take(",") ? packet.number() : std::nullopt;
  if (found == open_.end()) return failed(EBADF);
  if (!count || !offset) return failed(EINVAL);
  std::string bytes(std::min<std::uint64_t>(*count, kMostBytes), '\0');
  const ssize_t size =
      ::pread(found->second.get(), bytes.data(), bytes.size(), static_cast<off_t>(*offset));
  if (size < 0) return failed(errno);
  bytes.resize(static_cast<std::size_t>(size));
  return fmt::format("F{:x};", bytes.size()) + bytes;
}

std::string HostFiles::status(Words packet) const {
  const auto found = find(packet);
  struct stat is {};
  if (found == open_.end()) return failed(EBADF);
  if (::fstat(found->second.get(), &is) != 0) return failed(errno);
  std::string all;
  for (const std::uint64_t word :
       {std::uint64_t{is.st_dev}, std::uint64_t{is.st_ino}, std::uint64_t{is.st_mode},
        std::uint64_t{is.st_nlink}, std::uint64_t{is.st_uid}, std::uint64_t{is.st_gid},
        std::uint64_t{is.st_rdev}})
    add_big_endian(all, word, 4);
  for (const auto word :
       {static_cast<std::uint64_t>(is.st_size), static_cast<std::uint64_t>(is.st_blksize),
        static_cast<std::uint64_t>(is.st_blocks)})
    add_big_endian(all, word, 8);
  for (const auto word : {is.st_atime, is.st_mtime, is.st_ctime})
    add_big_endian(all, static_cast<std::uint64_t>(word), 4);
  return fmt::format("F{:x};", all.size()) + all;
}

std::string HostFiles::close(Words packet) {
  const auto found = find(packet);
  if (found == open_.end()) return failed(EBADF);
  open_.erase(found);
  return "F0";
}

}  // namespace ckpt::debugserver
