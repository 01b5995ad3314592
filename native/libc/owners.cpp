#include "libc/owners.hpp"

#include <linux/futex.h>
#include <pthread.h>

#include <algorithm>
#include <cstring>

#include "base/io.hpp"

namespace ckpt::libc {

namespace {

static_assert(sizeof(pthread_mutex_t) == kMutexBytes);
static_assert(sizeof(pthread_rwlock_t) == kRwlockBytes);

constexpr std::size_t kMutexOwnerAt = offsetof(pthread_mutex_t, __data.__owner);
constexpr std::size_t kMutexListAt = offsetof(pthread_mutex_t, __data.__list.__next);
constexpr std::size_t kWriterAt = offsetof(pthread_rwlock_t, __data.__cur_writer);

// pthread_mutex_t.__data.__kind, as glibc's nptl/pthreadP.h has it since 2.2 or so.
constexpr int kTypeMask = 3;
constexpr int kNormal = 0;
constexpr int kRecursive = 1;
constexpr int kAdaptive = 3;
constexpr int kRobust = 16;
constexpr int kInherit = 32;
constexpr int kProtect = 64;
constexpr int kShared = 128;
constexpr int kElided = 256;
constexpr int kNotElided = 512;
constexpr int kElision = kElided | kNotElided;
constexpr int kKnownKinds = kTypeMask | kRobust | kInherit | kProtect | kShared | kElision;
constexpr std::uint32_t kCeilingMask = 0xfff80000;  // in __lock of a mutex with a ceiling

// Counts of users, of recursive locks, of waiters: far above what a program reaches.
constexpr std::uint32_t kManyUsers = 1U << 20U;

// How many robust mutexes the kernel itself follows (ROBUST_LIST_LIMIT).
constexpr int kRobustListLimit = 2048;

constexpr std::size_t kChunkBytes = 1U << 20U;

// What holds the id in the lock word itself, where the kernel looks for it.
bool has_id_in_lock(int kind) { return (kind & (kRobust | kInherit)) != 0; }

bool is_held(std::uint32_t lock, Tid owner, int kind) {
  if (has_id_in_lock(kind)) return (lock & FUTEX_TID_MASK) == static_cast<std::uint32_t>(owner);
  if ((kind & kProtect) != 0) lock &= ~kCeilingMask;
  return lock == 1 || lock == 2;  // 2: with waiters
}

// __count: the depth of a recursive mutex. The slow paths (robust, PI, ceiling) set it to 1 for
// the other types as well.
bool is_count(std::uint32_t count, int kind) {
  if ((kind & kTypeMask) == kRecursive) return count >= 1 && count < kManyUsers;
  const bool slow_path = (kind & (kRobust | kInherit | kProtect)) != 0;
  return count == 0 || (count == 1 && slow_path);
}

bool is_kind(int kind) {
  if ((kind & ~kKnownKinds) != 0 || (kind & kElision) == kElision) return false;
  if ((kind & kInherit) != 0 && (kind & kProtect) != 0) return false;
  return (kind & kElision) == 0 || (kind & kTypeMask) == kNormal;
}

// __readers: bit 0 write phase, bit 1 a writer holds it, bit 2 readers wait, then the readers.
bool is_rwlock(const pthread_rwlock_t& lock) {
  constexpr unsigned kReaderShift = 3;
  constexpr std::uint32_t kHandOver = 1U << 31U;  // in __writers
  constexpr std::uint32_t kFutexBits = 3;         // it is 1, and used
  const auto& data = lock.__data;
  if ((data.__readers >> kReaderShift) >= kManyUsers) return false;
  if ((data.__writers & ~kHandOver) >= kManyUsers) return false;
  if ((data.__wrphase_futex & ~kFutexBits) != 0 || (data.__writers_futex & ~kFutexBits) != 0)
    return false;
  if (data.__pad3 != 0 || data.__pad4 != 0 || data.__rwelision != 0 || data.__pad2 != 0)
    return false;
  if (std::any_of(std::begin(data.__pad1), std::end(data.__pad1), [](auto b) { return b != 0; }))
    return false;
  return data.__shared >= 0 && data.__shared <= 1 &&
         data.__flags <= PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP;
}

bool is_list(const __pthread_list_t& list, int kind) {
  if ((kind & kRobust) != 0) return true;  // has been, or is being, put on a list
  return list.__prev == nullptr && list.__next == nullptr;
}

}  // namespace

void IdMap::add(Tid old, Tid now) {
  const auto word = static_cast<std::uint32_t>(old);
  const std::uint32_t most = ids_.empty() ? word : std::max(least_ + span_, word);
  least_ = ids_.empty() ? word : std::min(least_, word);
  span_ = most - least_;
  ids_[old] = now;
  if (old != now) changes_ = true;
}

std::optional<Tid> IdMap::find(Tid old) const {
  const auto found = ids_.find(old);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::vector<OwnerWord> owner_words_of_mutex(std::span<const std::byte, kMutexBytes> bytes,
                                            const IdMap& ids) {
  pthread_mutex_t mutex;
  std::memcpy(&mutex, bytes.data(), sizeof mutex);
  const auto& data = mutex.__data;
  const auto now = ids.find(data.__owner);
  if (!now || *now == data.__owner) return {};
  const int kind = data.__kind;
  if (!is_kind(kind)) return {};
  const auto lock = static_cast<std::uint32_t>(data.__lock);
  if (!is_held(lock, data.__owner, kind) || !is_count(data.__count, kind)) return {};
  // Its owner, and threads that wait for a condition.
  const std::size_t most_users = (kind & kShared) != 0 ? kManyUsers - 1 : ids.size();
  if (data.__nusers < 1 || data.__nusers > most_users) return {};
  if (data.__spins != 0 && (kind & kTypeMask) != kAdaptive) return {};
  if (data.__elision != 0 && (kind & kElided) == 0) return {};
  if (!is_list(data.__list, kind)) return {};
  std::vector<OwnerWord> words;
  if (has_id_in_lock(kind))
    words.push_back({0, (lock & ~static_cast<std::uint32_t>(FUTEX_TID_MASK)) |
                            static_cast<std::uint32_t>(*now)});
  words.push_back({kMutexOwnerAt, static_cast<std::uint32_t>(*now)});
  return words;
}

std::vector<OwnerWord> owner_words_of_rwlock(std::span<const std::byte, kRwlockBytes> bytes,
                                             const IdMap& ids) {
  pthread_rwlock_t lock;
  std::memcpy(&lock, bytes.data(), sizeof lock);
  const auto& data = lock.__data;
  const auto now = ids.find(data.__cur_writer);
  if (!now || *now == data.__cur_writer) return {};
  constexpr std::uint32_t kHeldForWriting = 3;
  if ((data.__readers & kHeldForWriting) != kHeldForWriting) return {};
  if ((data.__wrphase_futex & 1U) == 0 || (data.__writers_futex & 1U) == 0) return {};
  if (!is_rwlock(lock)) return {};
  return {{kWriterAt, static_cast<std::uint32_t>(*now)}};
}

namespace {

class Mover {
 public:
  Mover(const tracee::Memory& memory, const IdMap& ids, const WordsInUse& in_use)
      : memory_(memory), ids_(ids), ask_in_use_(in_use) {}

  /// The mutexes that a thread would leave behind if it died now.
  void follow(const RobustList& list) {
    if (!list.head || list.head_bytes != sizeof(robust_list_head)) return;
    const auto now = ids_.find(list.old_tid);
    if (!now || *now == list.old_tid) return;
    robust_list_head head{};
    if (!read(list.head, head)) return;
    // The head counts from the list's link to the lock word.
    const auto lock_of = [&](std::uint64_t link) {
      return Addr{link + static_cast<std::uint64_t>(head.futex_offset)};
    };
    const auto address = [](const robust_list* link) {
      return reinterpret_cast<std::uint64_t>(link) & ~std::uint64_t{1};  // bit 0: a PI mutex
    };
    if (head.list_op_pending != nullptr) renew(lock_of(address(head.list_op_pending)), list, *now);
    std::uint64_t at = address(head.list.next);
    for (int i = 0; i < kRobustListLimit && at != 0 && Addr{at} != list.head; ++i) {
      renew(lock_of(at), list, *now);
      robust_list link{};
      if (!read(Addr{at}, link)) return;
      at = address(link.next);
    }
  }

  /// A word that may be the owner word of a lock.
  void look_at(Addr word) {
    std::array<std::byte, kMutexBytes> mutex{};
    if (memory_.read_some(word - kMutexOwnerAt, mutex) == mutex.size() &&
        has_its_users(word - kMutexOwnerAt, mutex))
      write(word - kMutexOwnerAt, mutex, owner_words_of_mutex(mutex, ids_));
    std::array<std::byte, kRwlockBytes> rwlock{};
    if (memory_.read_some(word - kWriterAt, rwlock) == rwlock.size())
      write(word - kWriterAt, rwlock, owner_words_of_rwlock(rwlock, ids_));
  }

  /// What a thread that is inside a lock function points to.
  void finish(const InsideLock& thread) {
    const auto now = ids_.find(thread.old_tid);
    if (!now || *now == thread.old_tid) return;
    for (const Addr at : thread.pointers) {
      if (at.value % alignof(pthread_mutex_t) != 0 || is_in_rwlock(at, thread.pointers)) continue;
      pthread_mutex_t mutex;
      pthread_rwlock_t rwlock;
      if (read(at, mutex) && is_kind(mutex.__data.__kind) && mutex.__data.__nusers < kManyUsers &&
          mutex.__data.__count < kManyUsers) {
        const auto word = static_cast<std::uint32_t>(mutex.__data.__lock);
        constexpr std::uint32_t kIdBits = FUTEX_TID_MASK;
        if (has_id_in_lock(mutex.__data.__kind) &&
            (word & kIdBits) == static_cast<std::uint32_t>(thread.old_tid))
          memory_.write_value(at, (word & ~kIdBits) | static_cast<std::uint32_t>(*now));
        if (mutex.__data.__owner == thread.old_tid) memory_.write_value(at + kMutexOwnerAt, *now);
      } else if (read(at, rwlock) && rwlock.__data.__cur_writer == thread.old_tid &&
                 rwlock.__data.__pad3 == 0 && rwlock.__data.__pad4 == 0) {
        memory_.write_value(at + kWriterAt, *now);
      }
    }
  }

  std::vector<MovedLock> moved;

 private:
  template <typename T>
  bool read(Addr from, T& value) const {
    return memory_.read_some(from, std::as_writable_bytes(std::span(&value, 1))) == sizeof value;
  }

  // A reader that waits for a writer points to the lock and to the word in it that is woken. What
  // lies from there on may look like a mutex with a small id in it.
  bool is_in_rwlock(Addr at, std::span<const Addr> pointers) const {
    const Addr lock = at - offsetof(pthread_rwlock_t, __data.__wrphase_futex);
    pthread_rwlock_t rwlock;
    return std::find(pointers.begin(), pointers.end(), lock) != pointers.end() &&
           read(lock, rwlock) && rwlock.__data.__readers != 0 && is_rwlock(rwlock);
  }

  // A thread that waits for a condition with a mutex has its address at hand, to take it again. An
  // array in the heap of an interpreter begins with much the same words: a mark, a type, a length.
  bool has_its_users(Addr at, std::span<const std::byte, kMutexBytes> bytes) {
    pthread_mutex_t mutex;
    std::memcpy(&mutex, bytes.data(), sizeof mutex);
    if (mutex.__data.__nusers <= 1 || (mutex.__data.__kind & kShared) != 0) return true;
    if (!in_use_) in_use_ = ask_in_use_();
    return in_use_->contains(at.value);
  }

  void renew(Addr lock, const RobustList& list, Tid now) {
    std::uint32_t word = 0;
    if (!read(lock, word)) return;
    constexpr std::uint32_t kIdBits = FUTEX_TID_MASK;
    if ((word & kIdBits) != static_cast<std::uint32_t>(list.old_tid)) return;
    memory_.write_value(lock, (word & ~kIdBits) | static_cast<std::uint32_t>(now));
    // glibc's mutex says it once more.
    Tid owner = 0;
    if (read(lock + kMutexOwnerAt, owner) && owner == list.old_tid)
      memory_.write_value(lock + kMutexOwnerAt, now);
  }

  void write(Addr lock, std::span<const std::byte> bytes, const std::vector<OwnerWord>& words) {
    if (words.empty()) return;
    MovedLock& known = moved.emplace_back(MovedLock{lock, words});
    for (OwnerWord& word : known.before) {
      memory_.write_value(lock + word.offset, word.value);
      std::memcpy(&word.value, bytes.data() + word.offset, sizeof word.value);
    }
  }

  const tracee::Memory& memory_;
  const IdMap& ids_;
  const WordsInUse& ask_in_use_;
  std::optional<std::unordered_set<std::uint64_t>> in_use_;
};

}  // namespace

std::vector<MovedLock> move_owners(const tracee::Memory& memory, const image::Reader& image,
                                   std::span<const proc::PageRun> writable,
                                   std::span<const RobustList> robust_lists,
                                   std::span<const InsideLock> inside, const WordsInUse& in_use,
                                   const IdMap& ids) {
  Mover mover(memory, ids, in_use);
  if (!ids.changes()) return mover.moved;
  static_assert(kMutexListAt == 32, "the robust list is followed by offsets from the lock word");
  for (const auto& list : robust_lists) mover.follow(list);
  for (const auto& thread : inside) mover.finish(thread);
  // Reading the image is faster than reading the process, and what is not in it is not a held lock.
  std::vector<std::uint64_t> words;
  for (const auto& extent : image.extents()) {
    const auto after =
        std::upper_bound(writable.begin(), writable.end(), extent.start,
                         [](Addr address, const proc::PageRun& run) { return address < run.end; });
    if (after == writable.end() || after->start > extent.start) continue;
    for (std::uint64_t at = 0; at < extent.size_bytes; at += kChunkBytes) {
      words.resize(std::min<std::uint64_t>(kChunkBytes, extent.size_bytes - at) /
                   sizeof(std::uint64_t));
      if (!pread_exact(image.fd(), std::as_writable_bytes(std::span(words)),
                       extent.file_offset + at, image.path()))
        image::damaged("memory");
      for (std::size_t i = 0; i < words.size(); ++i) {
        // Both kinds of owner words lie in the lower half of an aligned pair.
        const auto low = static_cast<std::uint32_t>(words[i]);
        if (!ids.may_hold(low) || !ids.find(static_cast<Tid>(low))) continue;
        mover.look_at(extent.start + at + i * sizeof(std::uint64_t));
      }
    }
  }
  return mover.moved;
}

}  // namespace ckpt::libc
