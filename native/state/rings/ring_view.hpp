// An io_uring as it lies in our own memory, mapped through our own descriptor for it.
#pragma once

#include <linux/io_uring.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "state/rings/io_uring.hpp"

#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16U)  // Linux 6.6
#endif

namespace ckpt::state {

/// Raw io_uring_enter(2); -1 with errno on failure.
int enter_ring(int fd, std::uint32_t submit, std::uint32_t flags);
/// Raw io_uring_setup(2).
int set_up_ring(std::uint32_t entries, io_uring_params& parameters);

RingLayout layout_of(const io_uring_params& parameters, std::uint32_t cq_entries);
/// Where the array of the submission queue is, or would be without IORING_SETUP_NO_SQARRAY.
std::uint32_t array_offset(std::uint32_t cqes, std::uint32_t cq_entries);

/// Where the rings end, in bytes: without the array and with it.
std::uint64_t cqes_end(const RingLayout& layout, std::uint32_t cq_entries);
std::uint64_t array_end(const RingLayout& layout, std::uint32_t sq_entries);

class RingView {
 public:
  /// `with_array`: whether the submission queue's array is wanted, too, if there is one.
  /// Throws Error (system).
  RingView(int fd, const RingLayout& layout, std::uint32_t sq_entries, std::uint32_t cq_entries,
           bool with_array, bool writable);
  RingView(const RingView&) = delete;
  RingView& operator=(const RingView&) = delete;
  ~RingView();

  /// A word of the rings, by its offset.
  [[nodiscard]] std::uint32_t load(std::uint32_t offset) const;
  void store(std::uint32_t offset, std::uint32_t value) const;

  [[nodiscard]] std::span<std::byte> cqes() const;
  [[nodiscard]] std::span<std::byte> sqes() const;
  /// Empty where the pages that are mapped end before it.
  [[nodiscard]] std::span<std::byte> array() const;

 private:
  bool map_whole(int fd, std::uint64_t size_bytes, bool writable);

  RingLayout layout_;
  std::uint32_t sq_entries_, cq_entries_;
  std::uint64_t rings_bytes_ = 0, sqes_bytes_ = 0;
  std::byte* rings_ = nullptr;
  std::byte* sqes_ = nullptr;
};

}  // namespace ckpt::state
