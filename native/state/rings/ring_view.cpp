#include "state/rings/ring_view.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "base/error.hpp"
#include "base/unique_fd.hpp"

namespace ckpt::state {

namespace {

std::byte* map_ring(int fd, std::uint64_t size_bytes, std::uint64_t offset, bool writable) {
  void* at = ::mmap(nullptr, size_bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ,
                    MAP_SHARED | MAP_POPULATE, fd, static_cast<off_t>(offset));
  return at == MAP_FAILED ? nullptr : static_cast<std::byte*>(at);
}

bool can_be_read(const std::byte* at) {
  const UniqueFd room(::memfd_create("ckpt", MFD_CLOEXEC));
  if (!room) throw_errno("memfd_create", errno);
  return ::write(room.get(), at, 1) == 1;
}

}  // namespace

int enter_ring(int fd, std::uint32_t submit, std::uint32_t flags) {
  return static_cast<int>(::syscall(SYS_io_uring_enter, fd, submit, 0, flags, nullptr, 0));
}

int set_up_ring(std::uint32_t entries, io_uring_params& parameters) {
  return static_cast<int>(::syscall(SYS_io_uring_setup, entries, &parameters));
}

std::uint32_t array_offset(std::uint32_t cqes, std::uint32_t cq_entries) {
  constexpr std::uint32_t kCacheLine = 64;  // io_uring.c: rings_size()
  const std::uint64_t end = cqes + std::uint64_t{cq_entries} * sizeof(io_uring_cqe);
  return static_cast<std::uint32_t>((end + kCacheLine - 1) & ~std::uint64_t{kCacheLine - 1});
}

std::uint64_t cqes_end(const RingLayout& layout, std::uint32_t cq_entries) {
  return layout.cqes + std::uint64_t{cq_entries} * sizeof(io_uring_cqe);
}

std::uint64_t array_end(const RingLayout& layout, std::uint32_t sq_entries) {
  return layout.sq_array + std::uint64_t{sq_entries} * sizeof(std::uint32_t);
}

RingLayout layout_of(const io_uring_params& parameters, std::uint32_t cq_entries) {
  RingLayout layout;
  layout.sq_head = parameters.sq_off.head;
  layout.sq_tail = parameters.sq_off.tail;
  layout.sq_dropped = parameters.sq_off.dropped;
  layout.cq_head = parameters.cq_off.head;
  layout.cq_tail = parameters.cq_off.tail;
  layout.cq_overflow = parameters.cq_off.overflow;
  layout.cq_flags = parameters.cq_off.flags;
  layout.cqes = parameters.cq_off.cqes;
  layout.sq_array = array_offset(layout.cqes, cq_entries);
  return layout;
}

RingView::RingView(int fd, const RingLayout& layout, std::uint32_t sq_entries,
                   std::uint32_t cq_entries, bool with_array, bool writable)
    : layout_(layout),
      sq_entries_(sq_entries),
      cq_entries_(cq_entries),
      rings_bytes_(page_up(cqes_end(layout, cq_entries))),
      sqes_bytes_(page_up(std::uint64_t{sq_entries} * sizeof(io_uring_sqe))) {
  const std::uint64_t with = page_up(array_end(layout, sq_entries));
  if (with_array && with > rings_bytes_ && map_whole(fd, with, writable))
    rings_bytes_ = with;
  else
    rings_ = map_ring(fd, rings_bytes_, IORING_OFF_SQ_RING, writable);
  if (rings_ == nullptr) throw_errno("map an io_uring", errno);
  sqes_ = map_ring(fd, sqes_bytes_, IORING_OFF_SQES, writable);
  if (sqes_ == nullptr) {
    const int error_number = errno;
    ::munmap(rings_, rings_bytes_);
    throw_errno("map an io_uring", error_number);
  }
}

// What is longer than the ring is refused by some kernels; others (Linux 6.12) leave out what there
// is not, and who reads it gets SIGBUS.
bool RingView::map_whole(int fd, std::uint64_t size_bytes, bool writable) {
  rings_ = map_ring(fd, size_bytes, IORING_OFF_SQ_RING, writable);
  if (rings_ == nullptr) return false;
  if (can_be_read(rings_ + size_bytes - 1)) return true;
  ::munmap(rings_, size_bytes);
  rings_ = nullptr;
  return false;
}

RingView::~RingView() {
  ::munmap(rings_, rings_bytes_);
  ::munmap(sqes_, sqes_bytes_);
}

std::uint32_t RingView::load(std::uint32_t offset) const {
  return std::atomic_ref(*reinterpret_cast<std::uint32_t*>(rings_ + offset))
      .load(std::memory_order_acquire);
}

void RingView::store(std::uint32_t offset, std::uint32_t value) const {
  std::atomic_ref(*reinterpret_cast<std::uint32_t*>(rings_ + offset))
      .store(value, std::memory_order_release);
}

std::span<std::byte> RingView::cqes() const {
  return {rings_ + layout_.cqes, cq_entries_ * sizeof(io_uring_cqe)};
}

std::span<std::byte> RingView::sqes() const { return {sqes_, sq_entries_ * sizeof(io_uring_sqe)}; }

std::span<std::byte> RingView::array() const {
  if (array_end(layout_, sq_entries_) > rings_bytes_) return {};
  return {rings_ + layout_.sq_array, sq_entries_ * sizeof(std::uint32_t)};
}

}  // namespace ckpt::state
