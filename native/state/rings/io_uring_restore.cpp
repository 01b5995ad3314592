// Restore of an io_uring; see io_uring.hpp.
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <thread>

#include "base/error.hpp"
#include "base/signals.hpp"
#include "proc/process_dir.hpp"
#include "state/rings/io_uring.hpp"
#include "state/rings/ring_view.hpp"

namespace ckpt::state {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kMostTime = 60s;  // four million requests a second where the ring is small

io_uring_sqe do_nothing(bool silently) {
  io_uring_sqe sqe{};
  sqe.opcode = IORING_OP_NOP;
  sqe.fd = -1;
  if (silently) sqe.flags = IOSQE_CQE_SKIP_SUCCESS;
  return sqe;
}

// A completion for another ring.
io_uring_sqe complete_in(int fd) {
  io_uring_sqe sqe = do_nothing(true);
  sqe.opcode = IORING_OP_MSG_RING;
  sqe.fd = fd;
  return sqe;
}

// Makes requests through a ring, of one kind at a time, in batches as large as the ring.
class Driver {
 public:
  Driver(int fd, const RingView& view, const RingLayout& layout, std::uint32_t entries, bool polled)
      : fd_(fd), view_(view), layout_(layout), entries_(entries), polled_(polled) {
    const auto array = view.array();
    for (std::uint32_t i = 0; i < entries && !array.empty(); ++i)
      std::memcpy(array.data() + std::size_t{i} * sizeof i, &i, sizeof i);
  }

  /// `after`: after each batch.
  template <typename After>
  void run(const io_uring_sqe& sqe, std::uint32_t times, After after) {
    for (std::uint32_t i = 0; i < entries_; ++i)
      std::memcpy(view_.sqes().data() + i * sizeof sqe, &sqe, sizeof sqe);
    while (times > 0) {
      const std::uint32_t some = std::min(times, entries_);
      submit(some);
      after();
      times -= some;
    }
  }

 private:
  void submit(std::uint32_t count) {
    const std::uint32_t tail = view_.load(layout_.sq_tail) + count;
    view_.store(layout_.sq_tail, tail);
    while (view_.load(layout_.sq_head) != tail) {
      if (Clock::now() > end_) throw_errno("bring an io_uring to its counters", ETIME);
      const std::uint32_t left = tail - view_.load(layout_.sq_head);
      const int result = enter_ring(fd_, left, polled_ ? IORING_ENTER_SQ_WAKEUP : 0);
      if (result < 0 && errno != EINTR && errno != EAGAIN && errno != EBUSY)
        throw_errno("io_uring_enter", errno);
      if (polled_) std::this_thread::yield();
    }
  }

  int fd_;
  const RingView& view_;
  const RingLayout& layout_;
  std::uint32_t entries_;
  bool polled_;
  Clock::time_point end_ = Clock::now() + kMostTime;
};

// As many completions by another ring: more than the ring had requests, as of multishot ones.
template <typename After>
void complete_from_outside(int fd, std::uint32_t times, std::uint32_t at_once, After after) {
  constexpr std::uint32_t kEntries = 256;
  io_uring_params parameters{};
  const UniqueFd other(set_up_ring(kEntries, parameters));
  if (!other) throw_errno("io_uring_setup", errno);
  const RingLayout layout = layout_of(parameters, parameters.cq_entries);
  const RingView view(other.get(), layout, parameters.sq_entries, parameters.cq_entries, true,
                      true);
  Driver driver(other.get(), view, layout, std::min(parameters.sq_entries, at_once), false);
  driver.run(complete_in(fd), times, [&] {
    view.store(layout.cq_head, view.load(layout.cq_tail));
    after();
  });
}

// From zero to the counters of the save.
void advance(int fd, const RingView& view, const IoUring& ring) {
  const RingLayout& at = ring.layout;
  const auto cq_tail = ring.cq_tail + static_cast<std::uint32_t>(ring.cancelled.size());
  const std::uint32_t both = std::min(ring.sq_head, cq_tail);
  const auto take = [&] { view.store(at.cq_head, view.load(at.cq_tail)); };
  const bool polled = (ring.setup_flags & IORING_SETUP_SQPOLL) != 0;
  Driver driver(fd, view, at, ring.sq_entries, polled);
  driver.run(do_nothing(false), both, take);
  driver.run(do_nothing(true), ring.sq_head - both, take);
  // A kernel thread says that it has taken a request before it completes it.
  for (int i = 0; polled && i < 1000 && view.load(at.cq_tail) != both; ++i)
    std::this_thread::sleep_for(1ms);
  take();
  if (cq_tail != both) complete_from_outside(fd, cq_tail - both, ring.cq_entries, take);
  if (view.load(at.sq_head) != ring.sq_head || view.load(at.cq_tail) != cq_tail)
    throw_errno("bring an io_uring to its counters", EIO);
}

// In a thread of our own: with its end the kernel forgets that we had to do with the ring. Else it
// would interrupt us when the program closes it.
void advance_apart(int fd, const RingView& view, const IoUring& ring) {
  std::exception_ptr problem;
  {
    const SignalsBlocked blocked;
    std::thread worker([&] {
      try {
        advance(fd, view, ring);
      } catch (...) {
        problem = std::current_exception();
      }
    });
    worker.join();
  }
  if (problem) std::rethrow_exception(problem);
}

void copy_to(std::span<std::byte> to, const std::vector<std::byte>& from) {
  std::copy(from.begin(), from.end(), to.begin());
}

// All but the counters that the kernel keeps.
void fill_ring(const RingView& view, const IoUring& ring) {
  const auto array = view.array();  // or what is in its place: a later save is to find zeros there
  std::fill(array.begin(), array.end(), std::byte{});
  copy_to(array, ring.array);
  copy_to(view.sqes(), ring.sqes);
  copy_to(view.cqes(), ring.cqes);
  for (std::size_t i = 0; i < ring.cancelled.size(); ++i) {
    io_uring_cqe cqe{};
    cqe.user_data = ring.cancelled[i];
    cqe.res = -ECANCELED;
    const std::size_t index = (ring.cq_tail + i) & (ring.cq_entries - 1);
    std::memcpy(view.cqes().data() + index * sizeof cqe, &cqe, sizeof cqe);
  }
  const RingLayout& at = ring.layout;
  view.store(at.sq_dropped, ring.sq_dropped);
  view.store(at.cq_overflow, ring.cq_overflow);
  view.store(at.cq_flags, ring.cq_flags);
  view.store(at.cq_head, ring.cq_head);
  if ((ring.setup_flags & IORING_SETUP_SQPOLL) == 0) view.store(at.sq_tail, ring.sq_tail);
}

UniqueFd take_ring(RestoreContext& inferior, int fd) {
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, inferior.pid(), 0)));
  if (!process) throw_errno("pidfd_open", errno);
  UniqueFd own(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), fd, 0)));
  if (!own) throw_errno("pidfd_getfd", errno);
  return own;
}

io_uring_params parameters_of(const IoUring& ring) {
  io_uring_params parameters{};
  parameters.flags = ring.setup_flags | IORING_SETUP_CQSIZE;
  parameters.cq_entries = ring.cq_entries;
  return parameters;
}

// --- its place in memory

// Newer kernels choose the place of a ring's mapping themselves, and move none (Linux 6.4,
// io_uring_get_unmapped_area()). They take one that is free: so all others are taken for a while.
class OnlyPlace {
 public:
  explicit OnlyPlace(RestoreContext& inferior) : inferior_(inferior) {
    try {
      fill();
    } catch (...) {
      give_back();
      throw;
    }
  }
  OnlyPlace(const OnlyPlace&) = delete;
  OnlyPlace& operator=(const OnlyPlace&) = delete;
  ~OnlyPlace() {
    try {
      give_back();
    } catch (const Error&) {  // the process is gone
    }
  }

 private:
  void fill() {
    constexpr Addr kFirst{65536};                   // vm.mmap_min_addr
    constexpr Addr kEnd = arch::kTaskEnd;           // where the kernel looks without a hint
    constexpr std::uint64_t kStackGap = 1U << 20U;  // which it keeps free itself
    Addr free = kFirst;
    for (const auto& map : inferior_.process.detailed_mappings()) {
      if (map.start >= kEnd) break;
      const bool grows = map.path == "[stack]" || map.has_flag("gd");
      take(free, grows ? map.start - kStackGap : map.start);
      free = std::max(free, map.end);
    }
    take(free, kEnd);
  }

  void take(Addr start, Addr end) {
    if (start >= end) return;
    const std::int64_t result = inferior_.attempt(
        SYS_mmap, {start, end - start, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0});
    if (result == static_cast<std::int64_t>(start.value)) taken_.push_back({start, end});
  }

  void give_back() {
    for (const auto& run : taken_) inferior_.attempt(SYS_munmap, {run.start, run.size()});
    taken_.clear();
  }

  RestoreContext& inferior_;
  std::vector<proc::PageRun> taken_;
};

std::uint64_t protection(const RingMapping& map) {
  return (map.read ? std::uint64_t{PROT_READ} : 0) | (map.write ? std::uint64_t{PROT_WRITE} : 0);
}

// Where it was there is inaccessible memory until now.
void map_ring_at(RestoreContext& inferior, int fd, const RingMapping& map,
                 std::optional<OnlyPlace>& only) {
  const auto number = static_cast<std::uint64_t>(fd);
  const auto place = static_cast<std::int64_t>(map.start.value);
  if (inferior.attempt(SYS_mmap,
                       {map.start, map.size_bytes, protection(map),
                        MAP_SHARED | MAP_FIXED | MAP_POPULATE, number, map.offset_bytes}) == place)
    return;
  if (!only) only.emplace(inferior);
  inferior.call("munmap", SYS_munmap, {map.start, map.size_bytes});
  const std::int64_t result = inferior.attempt(
      SYS_mmap,
      {0, map.size_bytes, protection(map), MAP_SHARED | MAP_POPULATE, number, map.offset_bytes});
  if (result == place) return;
  if (result > 0) inferior.attempt(SYS_munmap, {result, map.size_bytes});
  inferior.attempt(SYS_mmap, {map.start, map.size_bytes, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0});
  throw_errno(fmt::format("map it at {}", map.start),
              result < 0 ? static_cast<int>(-result) : EEXIST);
}

void map_all(RestoreContext& inferior, int fd, const IoUring& ring) {
  std::optional<OnlyPlace> only;
  for (const RingMapping& map : ring.mappings) {
    map_ring_at(inferior, fd, map, only);
    if (map.not_for_children)
      inferior.attempt(SYS_madvise, {map.start, map.size_bytes, MADV_DONTFORK});
  }
}

// --- what is registered with it

std::int64_t register_with(RestoreContext& inferior, int fd, unsigned what,
                           const tracee::Piece& arguments, std::size_t count) {
  return inferior.attempt(SYS_io_uring_register, {fd, what, arguments, count});
}

void register_files(RestoreContext& inferior, int fd, const IoUring& ring,
                    const std::function<std::optional<int>(std::size_t)>& number_of) {
  if (ring.files.empty()) return;
  std::vector<std::int32_t> numbers;
  for (const auto& file : ring.files) numbers.push_back(file ? number_of(*file).value_or(-1) : -1);
  const auto at = inferior.put(std::as_bytes(std::span(numbers)));
  const auto result = register_with(inferior, fd, IORING_REGISTER_FILES, at, numbers.size());
  if (result < 0) throw_errno("register its files", static_cast<int>(-result));
}

void register_buffers(RestoreContext& inferior, int fd, const IoUring& ring) {
  if (ring.buffers.empty()) return;
  std::vector<iovec> buffers;
  for (const auto& [start, size] : ring.buffers)
    // NOLINTNEXTLINE(performance-no-int-to-ptr): an address of the other process
    buffers.push_back({reinterpret_cast<void*>(size == 0 ? 0 : start.value), size});
  const auto at = inferior.put(std::as_bytes(std::span(buffers)));
  const auto result = register_with(inferior, fd, IORING_REGISTER_BUFFERS, at, buffers.size());
  if (result < 0) throw_errno("register its buffers", static_cast<int>(-result));
}

void register_eventfd(RestoreContext& inferior, int fd, const IoUring& ring,
                      const std::function<std::optional<int>(std::size_t)>& number_of) {
  const auto number = ring.eventfd ? number_of(*ring.eventfd) : std::nullopt;
  if (!number) return;
  const auto at = inferior.put_value(std::int32_t{*number});
  const auto result = register_with(inferior, fd, IORING_REGISTER_EVENTFD, at, 1);
  if (result < 0) throw_errno("register its eventfd", static_cast<int>(-result));
}

}  // namespace

int make_io_uring(RestoreContext& inferior, const IoUring& ring) {
  const auto at = inferior.put_value(parameters_of(ring));
  const int fd = inferior.open("io_uring_setup", SYS_io_uring_setup, {ring.sq_entries, at});
  try {
    const auto parameters = at.read();
    RingLayout layout = layout_of(parameters, parameters.cq_entries);
    if (ring.has_array()) layout.sq_array = parameters.sq_off.array;
    if (layout != ring.layout || parameters.sq_entries != ring.sq_entries ||
        parameters.cq_entries != ring.cq_entries)
      throw Error(ErrorKind::system, "this kernel lays its memory out otherwise", EINVAL);
    const UniqueFd own = take_ring(inferior, fd);
    const RingView view(own.get(), ring.layout, ring.sq_entries, ring.cq_entries, ring.has_array(),
                        true);
    if ((ring.setup_flags & IORING_SETUP_R_DISABLED) == 0) advance_apart(own.get(), view, ring);
    fill_ring(view, ring);
  } catch (const Error&) {
    inferior.close(fd);
    throw;
  }
  return fd;
}

void link_io_uring(RestoreContext& inferior, int fd, const IoUring& ring, const std::string& name,
                   const std::function<std::optional<int>(std::size_t)>& number_of) {
  const auto attempt = [&](auto step) {
    try {
      step();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::system && error.kind() != ErrorKind::refused) throw;
      inferior.notes.push_back(
          fmt::format("{}: the io_uring does not come back as it was: {}", name, error.what()));
    }
  };
  const std::int64_t flags = inferior.attempt(SYS_fcntl, {fd, F_GETFL});
  if (flags < 0 || (flags & O_PATH) != 0) return;  // it could not be made, which has been said
  attempt([&] { map_all(inferior, fd, ring); });
  attempt([&] { register_files(inferior, fd, ring, number_of); });
  attempt([&] { register_buffers(inferior, fd, ring); });
  attempt([&] { register_eventfd(inferior, fd, ring, number_of); });
}

void start_io_uring(RestoreContext& inferior, int fd, const IoUring& ring) {
  if ((ring.setup_flags & IORING_SETUP_SQPOLL) == 0 || ring.sq_tail == ring.sq_head) return;
  const UniqueFd own = take_ring(inferior, fd);
  {
    const RingView view(own.get(), ring.layout, ring.sq_entries, ring.cq_entries, ring.has_array(),
                        true);
    view.store(ring.layout.sq_tail, ring.sq_tail);
  }
  inferior.attempt(SYS_io_uring_enter, {fd, 0, 0, IORING_ENTER_SQ_WAKEUP});
}

}  // namespace ckpt::state
