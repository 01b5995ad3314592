#include "libc/musl.hpp"

#include <linux/futex.h>

#include <algorithm>
#include <array>
#include <utility>

namespace ckpt::libc {

namespace {

// src/internal/pthread_impl.h, since 1.1.22: self, dtv, prev, next, sysinfo, canary; then,
// to 1.1.24, another word; then the id.
struct ThreadHead {
  std::uint64_t self;
  std::uint64_t dtv;
  std::uint64_t prev;
  std::uint64_t next;
  std::uint64_t sysinfo;
  std::uint64_t canary;
};
constexpr std::array<std::uint64_t, 2> kIdAt = {48, 56};

// Further on: the head of the list of mutexes, beginning at one of these, which for a thread
// without any points to itself; the last field that concerns us follows at a distance from it.
constexpr std::uint64_t kFirstListAt = 112;
constexpr std::uint64_t kLastListAt = 176;
constexpr std::uint64_t kFilesBehindList = 56;
constexpr int kMostListed = 65536;

// pthread_mutex_t: the lock word, and the link that the list leads to.
constexpr std::uint64_t kLockAt = 4;
constexpr std::uint64_t kLinkAt = 32;

// src/internal/stdio_impl.h, since 1.1.20 or so.
constexpr std::uint64_t kFileWordA = 48;  // "mustbezero_1"
constexpr std::uint64_t kFileLockAt = 140;
constexpr std::uint64_t kFileWordB = 176;  // "mustbezero_2"
constexpr std::uint64_t kNextLockedAt = 216;
constexpr std::uint32_t kMaybeWaiters = 0x40000000;

template <typename T>
std::optional<T> read_at(const tracee::Memory& memory, std::uint64_t address) {
  T value{};
  const auto bytes = std::as_writable_bytes(std::span(&value, 1));
  if (address % alignof(T) != 0 || memory.read_some(Addr{address}, bytes) != bytes.size())
    return std::nullopt;
  return value;
}

// All threads are in a ring.
bool is_thread(const tracee::Memory& memory, std::uint64_t at) {
  const auto head = read_at<ThreadHead>(memory, at);
  if (!head || head->self != at || head->next % alignof(ThreadHead) != 0) return false;
  const auto next = read_at<ThreadHead>(memory, head->next);
  const auto prev = read_at<ThreadHead>(memory, head->prev);
  return next && prev && next->self == head->next && prev->self == head->prev && next->prev == at &&
         prev->next == at;
}

// The links of a ring that begins at `head`, which itself is left out; nothing if it is none.
std::optional<std::vector<std::uint64_t>> ring(const tracee::Memory& memory, std::uint64_t head) {
  std::vector<std::uint64_t> links;
  for (auto at = read_at<std::uint64_t>(memory, head); at;
       at = read_at<std::uint64_t>(memory, *at)) {
    if (*at == head) return links;
    if (*at < kLinkAt || links.size() == kMostListed) return std::nullopt;
    links.push_back(*at);
  }
  return std::nullopt;
}

using Change = std::pair<std::uint64_t, std::uint32_t>;  // an address, and what is to stand there

class Renewer {
 public:
  Renewer(const tracee::Memory& memory, const MuslThread& thread, std::vector<Change>& changes)
      : memory_(memory), thread_(thread), changes_(changes) {}

  void run() {
    const std::uint64_t base = thread_.thread_pointer.value;
    for (std::uint64_t at = base + kFirstListAt; at <= base + kLastListAt; at += sizeof at) {
      const auto links = ring(memory_, at);
      if (!links) continue;
      for (const std::uint64_t link : *links) renew(link - kLinkAt + kLockAt, kMutexBits);
      renew_files(at + kFilesBehindList);
      // What is being taken or given back.
      const auto pending = read_at<std::uint64_t>(memory_, at + 2 * sizeof at);
      if (pending && *pending > kLinkAt) renew(*pending - kLinkAt + kLockAt, kMutexBits);
      break;
    }
    for (const std::uint64_t word : thread_.words)
      if (looks_like_file(word)) renew(word + kFileLockAt, kMaybeWaiters);
  }

 private:
  static constexpr std::uint32_t kMutexBits = FUTEX_WAITERS | FUTEX_OWNER_DIED;

  // `bits`: what the word may have beside the id.
  void renew(std::uint64_t address, std::uint32_t bits) {
    const auto word = read_at<std::uint32_t>(memory_, address);
    if (word && (*word & ~bits) == static_cast<std::uint32_t>(thread_.before))
      changes_.emplace_back(address, (*word & bits) | static_cast<std::uint32_t>(thread_.now));
  }

  void renew_files(std::uint64_t head) {
    auto file = read_at<std::uint64_t>(memory_, head);
    for (int i = 0; file && *file != 0 && looks_like_file(*file) && i < kMostListed; ++i) {
      renew(*file + kFileLockAt, kMaybeWaiters);
      file = read_at<std::uint64_t>(memory_, *file + kNextLockedAt);
    }
  }

  bool looks_like_file(std::uint64_t at) const {
    if (at < kPageSize || at % sizeof at != 0) return false;
    const auto lock = read_at<std::uint32_t>(memory_, at + kFileLockAt);
    if (!lock || (*lock & ~kMaybeWaiters) != static_cast<std::uint32_t>(thread_.before))
      return false;
    return read_at<std::uint64_t>(memory_, at + kFileWordA) == 0 &&
           read_at<std::uint64_t>(memory_, at + kFileWordB) == 0;
  }

  const tracee::Memory& memory_;
  const MuslThread& thread_;
  std::vector<Change>& changes_;
};

}  // namespace

std::optional<Addr> find_musl_id(const tracee::Memory& memory, Addr thread_pointer, Tid id) {
  if (thread_pointer.value < kPageSize || !is_thread(memory, thread_pointer.value))
    return std::nullopt;
  for (const std::uint64_t at : kIdAt)
    if (read_at<Tid>(memory, thread_pointer.value + at) == id) return thread_pointer + at;
  return std::nullopt;
}

void renew_musl_owners(const tracee::Memory& memory, std::span<const MuslThread> threads) {
  // All are found before the first is changed: new ids may be among the old ones.
  std::vector<Change> changes;
  for (const auto& thread : threads)
    if (thread.before != thread.now && find_musl_id(memory, thread.thread_pointer, thread.before))
      Renewer(memory, thread, changes).run();
  for (const auto& [address, value] : changes) memory.write_value(Addr{address}, value);
}

}  // namespace ckpt::libc
