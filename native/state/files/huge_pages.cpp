#include "state/files/huge_pages.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

#include "base/io.hpp"
#include "state/files/kept_file.hpp"

namespace ckpt::state {

namespace {

// Shared, so that the pages are reserved in the file, and stay so when this mapping is gone.
class Whole {
 public:
  Whole(int fd, std::uint64_t size_bytes)
      : size_bytes_(size_bytes),
        start_(::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) {}
  ~Whole() {
    if (*this) ::munmap(start_, size_bytes_);
  }
  Whole(const Whole&) = delete;
  Whole& operator=(const Whole&) = delete;
  Whole(Whole&&) = delete;
  Whole& operator=(Whole&&) = delete;

  explicit operator bool() const { return start_ != MAP_FAILED; }
  [[nodiscard]] std::byte* at(std::uint64_t offset) const {
    return static_cast<std::byte*>(start_) + offset;
  }

 private:
  std::uint64_t size_bytes_;
  void* start_;
};

// write(2) does not know such files. Read by the kernel, a page that cannot be had after all (a
// limit of the control group) is an EFAULT and not a SIGBUS: then false.
bool read_into(const Whole& whole, int from, std::uint64_t begin, std::uint64_t end,
               const std::string& path) {
  while (begin < end) {
    const ssize_t n = ::pread(from, whole.at(begin), end - begin, static_cast<off_t>(begin));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EFAULT) return false;
    if (n < 0) throw_errno(fmt::format("read {}", path), errno);
    if (n == 0) fail(ErrorKind::damaged, "{}: it is shorter than it was", path);
    begin += static_cast<std::uint64_t>(n);
  }
  return true;
}

bool fill_memfd(int fd, int from, std::uint64_t size_bytes, const std::string& path) {
  if (::ftruncate(fd, static_cast<off_t>(size_bytes)) != 0) return false;
  if (size_bytes == 0) return true;
  const Whole whole(fd, size_bytes);
  if (!whole) return false;
  const auto size = static_cast<off_t>(size_bytes);
  for (off_t at = 0; at < size;) {
    off_t begin = ::lseek(from, at, SEEK_DATA);
    if (begin < 0 && errno == ENXIO) return true;  // a hole to the end
    if (begin < 0) begin = at;
    off_t end = ::lseek(from, begin, SEEK_HOLE);
    if (end <= begin || end > size) end = size;
    if (!read_into(whole, from, static_cast<std::uint64_t>(begin), static_cast<std::uint64_t>(end),
                   path))
      return false;
    at = end;
  }
  return true;
}

}  // namespace

std::uint64_t huge_page_bytes_of(int fd) {
  struct statfs system {};
  const bool huge = ::fstatfs(fd, &system) == 0 && system.f_type == HUGETLBFS_MAGIC;
  return huge ? static_cast<std::uint64_t>(system.f_bsize) : 0;
}

void check_huge_page(std::uint64_t bytes) {
  constexpr std::uint64_t kLargest = 1ULL << 40U;
  if (bytes != 0 && (!std::has_single_bit(bytes) || bytes <= kPageSize || bytes > kLargest))
    image::damaged("the size of a huge page");
}

std::uint64_t huge_page_flags(std::uint64_t page_bytes) noexcept {
  static_assert(MAP_HUGE_SHIFT == MFD_HUGE_SHIFT);
  return page_bytes == 0
             ? 0
             : static_cast<std::uint64_t>(std::countr_zero(page_bytes)) << MAP_HUGE_SHIFT;
}

UniqueFd make_huge_memfd(const KeptFile& file, const std::string& source, unsigned flags) {
  const std::uint64_t page_bytes = file.huge_page_bytes;
  const UniqueFd from = open_file(source, O_RDONLY);
  UniqueFd fd(
      ::memfd_create(memfd_name(file).c_str(),
                     static_cast<unsigned>(flags | MFD_HUGETLB | huge_page_flags(page_bytes))));
  if (fd && !fill_memfd(fd.get(), from.get(), file.object->size_bytes, source)) fd.reset();
  return fd;
}

std::string ordinary_pages_note(const std::string& what, std::uint64_t page_bytes) {
  if (page_bytes == 0)
    return fmt::format(
        "{} has ordinary pages, because not enough huge pages are free: to have huge ones, raise "
        "/proc/sys/vm/nr_hugepages and restore again",
        what);
  const std::uint64_t kilobytes = page_bytes >> 10U;
  return fmt::format(
      "{} has ordinary pages, because not enough huge pages of {} kB are free: to have huge ones, "
      "raise /sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages and restore again",
      what, kilobytes, kilobytes);
}

}  // namespace ckpt::state
