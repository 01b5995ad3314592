#include "tracee/remote_calls.hpp"

#include <fcntl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>

#include "base/error.hpp"

namespace ckpt::tracee {

RemoteCalls::RemoteCalls(RemoteThread& thread, const Memory& memory, Addr buffer,
                         std::uint64_t buffer_bytes, int first_free_fd)
    : thread_(thread),
      memory_(memory),
      buffer_(buffer),
      buffer_bytes_(buffer_bytes),
      next_fd_(first_free_fd) {}

std::int64_t RemoteCalls::attempt(long number, std::initializer_list<std::uint64_t> arguments) {
  std::array<std::uint64_t, 6> all{};
  std::copy(arguments.begin(), arguments.end(), all.begin());
  used_bytes_ = 0;
  return thread_.call(number, all);
}

std::uint64_t RemoteCalls::call(const char* what, long number,
                                std::initializer_list<std::uint64_t> arguments) {
  const std::int64_t result = attempt(number, arguments);
  if (result < 0 && result >= -4095) throw_errno(what, static_cast<int>(-result));
  return static_cast<std::uint64_t>(result);
}

int RemoteCalls::open(const char* what, long number,
                      std::initializer_list<std::uint64_t> arguments) {
  return move_away(static_cast<int>(call(what, number, arguments)));
}

int RemoteCalls::move_away(int fd) {
  const int moved = static_cast<int>(call(
      "fcntl(F_DUPFD_CLOEXEC)", SYS_fcntl,
      {static_cast<std::uint64_t>(fd), F_DUPFD_CLOEXEC, static_cast<std::uint64_t>(next_fd_)}));
  next_fd_ = moved + 1;
  close(fd);
  return moved;
}

void RemoteCalls::close(int fd) { attempt(SYS_close, {static_cast<std::uint64_t>(fd)}); }

Addr RemoteCalls::put(std::span<const std::byte> bytes) {
  const Addr at = reserve(bytes.size());
  memory_.write(at, bytes);
  return at;
}

Addr RemoteCalls::reserve(std::uint64_t bytes) {
  constexpr std::uint64_t kAlignment = 16;
  const std::uint64_t size = (bytes + kAlignment - 1) & ~(kAlignment - 1);
  if (size > buffer_bytes_ - used_bytes_)
    fail(ErrorKind::refused, "{} bytes are too many for an argument of a call", bytes);
  const Addr at = buffer_ + used_bytes_;
  used_bytes_ += size;
  return at;
}

}  // namespace ckpt::tracee
