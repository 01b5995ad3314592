#include "tracee/memory.hpp"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.hpp"
#include "base/io.hpp"

namespace ckpt::tracee {

Memory::Memory(Tid pid) : pid_(pid), fd_(open_file(fmt::format("/proc/{}/mem", pid), O_RDWR)) {}

std::size_t Memory::read_some(Addr from, std::span<std::byte> into) const {
  std::size_t done = 0;
  while (done < into.size()) {
    // pread64's offset is signed, addresses of user space are not that high.
    const ssize_t n = ::pread(fd_.get(), into.data() + done, into.size() - done,
                              static_cast<off_t>(from.value + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

void Memory::read(Addr from, std::span<std::byte> into) const {
  errno = 0;
  const std::size_t done = read_some(from, into);
  if (done == into.size()) return;
  // The process is gone when its memory reads as an empty file.
  throw_errno(fmt::format("process {}: read memory at {}", pid_, from + done),
              errno == 0 ? ESRCH : errno);
}

void Memory::write(Addr to, std::span<const std::byte> bytes) const {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::pwrite(fd_.get(), bytes.data() + done, bytes.size() - done,
                               static_cast<off_t>(to.value + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      throw_errno(fmt::format("process {}: write memory at {}", pid_, to + done),
                  n == 0 ? ESRCH : errno);
    done += static_cast<std::size_t>(n);
  }
}

void Memory::read_bulk(Addr from, std::span<std::byte> into) const {
  std::size_t done = 0;
  while (done < into.size()) {
    const iovec local{into.data() + done, into.size() - done};
    // NOLINTNEXTLINE(performance-no-int-to-ptr): an address of the other process
    const iovec remote{reinterpret_cast<void*>(from.value + done), into.size() - done};
    const ssize_t n = ::process_vm_readv(pid_, &local, 1, &remote, 1, 0);
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  if (done < into.size()) read(from + done, into.subspan(done));
}

void Memory::read_bulk(std::span<const Range> ranges, std::span<std::byte> into) const {
  std::vector<iovec> remote;
  for (const Range& range : ranges)
    // NOLINTNEXTLINE(performance-no-int-to-ptr): an address of the other process
    remote.push_back({reinterpret_cast<void*>(range.start.value), range.size_bytes});
  const iovec local{into.data(), into.size()};
  if (remote.size() > 1 && ::process_vm_readv(pid_, &local, 1, remote.data(), remote.size(), 0) ==
                               static_cast<ssize_t>(into.size()))
    return;
  for (const Range& range : ranges) {
    read_bulk(range.start, into.first(range.size_bytes));
    into = into.subspan(range.size_bytes);
  }
}

}  // namespace ckpt::tracee
