// The words in memory by which a lock remembers its owner. They hold thread ids that the kernel and
// the C library compare with the owner's id at every use; when threads come back with new ids, the
// words must say the new ones.
//
// What is found how:
//   robust mutexes   by the robust list that each thread has registered with the kernel; exact
//   all other locks  by their structure: a word that equals a thread's id is an owner only if
//                    everything around it is what a held lock of glibc's looks like
//   locks in hand    a thread stopped inside a lock function may have set half of the words, and
//                    have its id in a register: its registers lead to the lock
// A plain array of numbers is never changed unless it is, field by field, a held lock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/types.hpp"
#include "image/reader.hpp"
#include "proc/pagemap.hpp"
#include "tracee/memory.hpp"

namespace ckpt::libc {

/// Old thread ids and what they became.
class IdMap {
 public:
  void add(Tid old, Tid now);
  /// The new id of an old one; nothing when it is not one of the program's.
  [[nodiscard]] std::optional<Tid> find(Tid old) const;
  /// Whether any id has changed.
  [[nodiscard]] bool changes() const { return changes_; }
  [[nodiscard]] std::size_t size() const { return ids_.size(); }
  /// Cheap and never wrong about one of the program's ids: false means that it is none.
  [[nodiscard]] bool may_hold(std::uint32_t word) const { return word - least_ <= span_; }

 private:
  std::unordered_map<Tid, Tid> ids_;
  std::uint32_t least_ = 0;
  std::uint32_t span_ = 0;
  bool changes_ = false;
};

/// Sizes of glibc's pthread_mutex_t and pthread_rwlock_t on x86-64.
inline constexpr std::size_t kMutexBytes = 40;
inline constexpr std::size_t kRwlockBytes = 56;

/// A word of a lock to be changed.
struct OwnerWord {
  std::size_t offset = 0;  // in bytes from the lock's start
  std::uint32_t value = 0;
};

/// The words to change if these bytes are a mutex held by one of the threads; else none.
std::vector<OwnerWord> owner_words_of_mutex(std::span<const std::byte, kMutexBytes> bytes,
                                            const IdMap& ids);
/// The same for a read-write lock held for writing.
std::vector<OwnerWord> owner_words_of_rwlock(std::span<const std::byte, kRwlockBytes> bytes,
                                             const IdMap& ids);

struct RobustList {
  Tid old_tid = 0;
  Addr head;
  std::uint64_t head_bytes = 0;
};

/// A thread stopped inside a function of locks: it may be between setting the lock word and the
/// owner, or the other way round, so that the lock does not look held. One of its registers then
/// points to the lock.
struct InsideLock {
  Tid old_tid = 0;
  std::vector<Addr> pointers;
};

/// The words in the registers of all threads and at the tops of their stacks. Asked for when
/// needed.
using WordsInUse = std::function<std::unordered_set<std::uint64_t>()>;

/// What was taken for a held lock by its structure alone, with the words as they were before.
struct MovedLock {
  Addr address;
  std::vector<OwnerWord> before;
};

/// Renews the owners of all held locks in the memory of a process that was just filled from an
/// image. `writable`: the memory in which locks may lie. No thread may be running. Returns those
/// that nothing but their structure tells to be locks. Throws Error (system) when memory cannot be
/// read or written.
std::vector<MovedLock> move_owners(const tracee::Memory& memory, const image::Reader& image,
                                   std::span<const proc::PageRun> writable,
                                   std::span<const RobustList> robust_lists,
                                   std::span<const InsideLock> inside, const WordsInUse& in_use,
                                   const IdMap& ids);

}  // namespace ckpt::libc
