// Owners of locks, recognised by structure; instructions that may be moved.
#include <pthread.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "arch/instructions.hpp"
#include "libc/elf_symbols.hpp"
#include "libc/owners.hpp"

namespace ckpt::ids {
namespace {

constexpr Tid kNew = 77777;

struct Kind {
  int type = PTHREAD_MUTEX_NORMAL;
  bool robust = false;
  int protocol = PTHREAD_PRIO_NONE;
  bool shared = false;
};

class HeldMutex {
 public:
  explicit HeldMutex(const Kind& kind) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, kind.type);
    if (kind.robust) pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (kind.shared) pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setprotocol(&attributes, kind.protocol);
    EXPECT_EQ(pthread_mutex_init(&mutex_, &attributes), 0);
    pthread_mutexattr_destroy(&attributes);
    EXPECT_EQ(pthread_mutex_lock(&mutex_), 0);
  }
  HeldMutex(HeldMutex&&) = delete;
  ~HeldMutex() {
    pthread_mutex_unlock(&mutex_);
    pthread_mutex_destroy(&mutex_);
  }

  [[nodiscard]] pthread_mutex_t copy() const {
    pthread_mutex_t bytes;
    std::memcpy(&bytes, &mutex_, sizeof bytes);
    return bytes;
  }

 private:
  pthread_mutex_t mutex_{};
};

std::vector<libc::OwnerWord> words_of(const pthread_mutex_t& mutex, const libc::IdMap& ids) {
  return libc::owner_words_of_mutex(
      std::span<const std::byte, libc::kMutexBytes>(reinterpret_cast<const std::byte*>(&mutex),
                                                    libc::kMutexBytes),
      ids);
}

std::vector<libc::OwnerWord> words_of(const pthread_rwlock_t& lock, const libc::IdMap& ids) {
  return libc::owner_words_of_rwlock(
      std::span<const std::byte, libc::kRwlockBytes>(reinterpret_cast<const std::byte*>(&lock),
                                                     libc::kRwlockBytes),
      ids);
}

libc::IdMap own_id() {
  libc::IdMap ids;
  ids.add(::gettid(), kNew);
  return ids;
}

TEST(IdMap, FindsWhatWasAddedAndNothingElse) {
  libc::IdMap ids;
  EXPECT_FALSE(ids.changes());
  ids.add(500, 500);
  EXPECT_FALSE(ids.changes());
  ids.add(100, 900);
  ids.add(300, 901);
  EXPECT_TRUE(ids.changes());
  EXPECT_EQ(ids.find(100), 900);
  EXPECT_EQ(ids.find(300), 901);
  EXPECT_EQ(ids.find(500), 500);
  EXPECT_EQ(ids.find(200), std::nullopt);
  for (const std::uint32_t word : {100U, 300U, 500U}) EXPECT_TRUE(ids.may_hold(word)) << word;
  for (const std::uint32_t word : {0U, 99U, 501U, ~0U}) EXPECT_FALSE(ids.may_hold(word)) << word;
}

TEST(OwnerWords, OfEveryKindOfHeldMutex) {
  const libc::IdMap ids = own_id();
  for (const int type :
       std::initializer_list<int>{PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE,
                                  PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_ADAPTIVE_NP})
    for (const bool robust : {false, true})
      for (const int protocol : {PTHREAD_PRIO_NONE, PTHREAD_PRIO_INHERIT})
        for (const bool shared : {false, true}) {
          SCOPED_TRACE(fmt::format("type {} robust {} protocol {} shared {}", type, robust,
                                   protocol, shared));
          const HeldMutex held({type, robust, protocol, shared});
          pthread_mutex_t mutex = held.copy();
          const auto words = words_of(mutex, ids);
          ASSERT_EQ(words.size(), robust || protocol == PTHREAD_PRIO_INHERIT ? 2U : 1U);
          for (const auto& word : words)
            std::memcpy(reinterpret_cast<char*>(&mutex) + word.offset, &word.value, 4);
          EXPECT_EQ(mutex.__data.__owner, kNew);
          if (words.size() == 2) {
            EXPECT_EQ(mutex.__data.__lock, kNew);
          }
          EXPECT_TRUE(words_of(mutex, ids).empty()) << "done already";
        }
}

TEST(OwnerWords, KeepTheFlagsInALockWord) {
  const HeldMutex held({.robust = true});
  pthread_mutex_t mutex = held.copy();
  constexpr std::uint32_t kWaiters = 0x80000000U;
  mutex.__data.__lock =
      static_cast<int>(static_cast<std::uint32_t>(mutex.__data.__lock) | kWaiters);
  const auto words = words_of(mutex, own_id());
  ASSERT_EQ(words.size(), 2U);
  EXPECT_EQ(words[0].value, kWaiters | kNew);
}

TEST(OwnerWords, OfNothingThatOnlyLooksLikeAMutex) {
  const libc::IdMap ids = own_id();
  const HeldMutex held(Kind{});
  const pthread_mutex_t good = held.copy();
  ASSERT_FALSE(words_of(good, ids).empty());
  using Break = void (*)(pthread_mutex_t&);
  const std::vector<std::pair<const char*, Break>> breaks = {
      {"not locked", [](pthread_mutex_t& m) { m.__data.__lock = 0; }},
      {"a lock word of 3", [](pthread_mutex_t& m) { m.__data.__lock = 3; }},
      {"no users", [](pthread_mutex_t& m) { m.__data.__nusers = 0; }},
      {"more users than threads", [](pthread_mutex_t& m) { m.__data.__nusers = 2; }},
      {"too many users", [](pthread_mutex_t& m) { m.__data.__nusers = 1U << 30U; }},
      {"a count, not recursive", [](pthread_mutex_t& m) { m.__data.__count = 1; }},
      {"an unknown kind", [](pthread_mutex_t& m) { m.__data.__kind = 4096; }},
      {"inheritance and ceiling", [](pthread_mutex_t& m) { m.__data.__kind = 32 | 64; }},
      {"robust, other id", [](pthread_mutex_t& m) { m.__data.__kind = 16; }},
      {"recursive, no count", [](pthread_mutex_t& m) { m.__data.__kind = 1; }},
      {"spins, not adaptive", [](pthread_mutex_t& m) { m.__data.__spins = 1; }},
      {"elision, not asked for", [](pthread_mutex_t& m) { m.__data.__elision = 1; }},
      {"a list, not robust", [](pthread_mutex_t& m) { m.__data.__list.__next = &m.__data.__list; }},
      {"another owner", [](pthread_mutex_t& m) { m.__data.__owner++; }},
  };
  for (const auto& [what, change] : breaks) {
    pthread_mutex_t mutex;
    std::memcpy(&mutex, &good, sizeof mutex);
    change(mutex);
    EXPECT_TRUE(words_of(mutex, ids).empty()) << what;
  }
}

TEST(OwnerWords, OfARwlockHeldForWriting) {
  pthread_rwlock_t held = PTHREAD_RWLOCK_INITIALIZER;
  ASSERT_EQ(pthread_rwlock_wrlock(&held), 0);
  const libc::IdMap ids = own_id();
  pthread_rwlock_t good;
  std::memcpy(&good, &held, sizeof good);
  EXPECT_EQ(pthread_rwlock_unlock(&held), 0);
  const auto words = words_of(good, ids);
  ASSERT_EQ(words.size(), 1U);
  EXPECT_EQ(words[0].value, static_cast<std::uint32_t>(kNew));
  EXPECT_EQ(words[0].offset, offsetof(pthread_rwlock_t, __data.__cur_writer));

  using Break = void (*)(pthread_rwlock_t&);
  const std::vector<std::pair<const char*, Break>> breaks = {
      {"free", [](pthread_rwlock_t& l) { l.__data.__readers = 0; }},
      {"held by readers", [](pthread_rwlock_t& l) { l.__data.__readers = 8; }},
      {"no write phase", [](pthread_rwlock_t& l) { l.__data.__wrphase_futex = 0; }},
      {"no writer", [](pthread_rwlock_t& l) { l.__data.__writers_futex = 0; }},
      {"padding in use", [](pthread_rwlock_t& l) { l.__data.__pad3 = 1; }},
      {"an unknown preference", [](pthread_rwlock_t& l) { l.__data.__flags = 9; }},
  };
  for (const auto& [what, change] : breaks) {
    pthread_rwlock_t lock;
    std::memcpy(&lock, &good, sizeof lock);
    change(lock);
    EXPECT_TRUE(words_of(lock, ids).empty()) << what;
  }
}

TEST(MovableInstruction, LengthsAndDistances) {
  struct Row {
    std::string code;
    std::size_t length, displacement_at;
  };
  using namespace std::string_literals;
  for (const Row& row : {
           Row{"\xf3\x0f\x1e\xfa"s, 4, 0},                      // endbr64
           Row{"\x55"s, 1, 0},                                  // push %rbp
           Row{"\x41\x55"s, 2, 0},                              // push %r13
           Row{"\xb8\x27\x00\x00\x00"s, 5, 0},                  // mov $39,%eax
           Row{"\x48\x89\xf8"s, 3, 0},                          // mov %rdi,%rax
           Row{"\x48\x83\xec\x58"s, 4, 0},                      // sub $88,%rsp
           Row{"\x48\x81\xec\xd8\x00\x00\x00"s, 7, 0},          // sub $216,%rsp
           Row{"\x48\x89\x54\x24\x30"s, 5, 0},                  // mov %rdx,48(%rsp)
           Row{"\x48\x8d\x44\x24\x60"s, 5, 0},                  // lea 96(%rsp),%rax
           Row{"\x64\x48\x8b\x04\x25\x28\x00\x00\x00"s, 9, 0},  // mov %fs:40,%rax
           Row{"\x80\x3d\x11\x7a\x10\x00\x00"s, 7, 2},          // cmpb $0,x(%rip)
           Row{"\x48\x8b\x05\x01\x02\x03\x04"s, 7, 3},          // mov x(%rip),%rax
           Row{"\x31\xc9"s, 2, 0},                              // xor %ecx,%ecx
       }) {
    const auto one = arch::movable_instruction(std::as_bytes(std::span(row.code)));
    ASSERT_TRUE(one.has_value()) << testing::PrintToString(row.code);
    EXPECT_EQ(one->length, row.length) << testing::PrintToString(row.code);
    EXPECT_EQ(one->displacement_at, row.displacement_at) << testing::PrintToString(row.code);
    EXPECT_FALSE(one->is_short_jump);
  }
  const std::string jump = "\x74\x10";  // je
  const auto one = arch::movable_instruction(std::as_bytes(std::span(jump)));
  ASSERT_TRUE(one.has_value());
  EXPECT_TRUE(one->is_short_jump);
  EXPECT_EQ(one->length, 2U);
}

TEST(MovableInstruction, LeavesAloneWhatItDoesNotKnow) {
  using namespace std::string_literals;
  for (const std::string& code : {"\xe8\x00\x00\x00\x00"s,       // call
                                  "\xeb\x10"s,                   // jmp
                                  "\x0f\x05"s,                   // syscall
                                  "\xc3"s,                       // ret
                                  "\x48\x89"s, "\x48"s, ""s}) {  // cut off
    EXPECT_FALSE(arch::movable_instruction(std::as_bytes(std::span(code))))
        << testing::PrintToString(code);
  }
}

TEST(ElfSymbols, OfTheCLibrary) {
  const libc::ElfSymbols elf = libc::read_symbols("/lib/x86_64-linux-gnu/libc.so.6");
  EXPECT_FALSE(elf.is_static);
  int affinity = 0;
  for (const auto& symbol : elf.symbols)
    if (symbol.name == "sched_setaffinity") ++affinity;
  EXPECT_EQ(affinity, 1) << "only the default version counts";
}

TEST(ElfSymbols, OfWhatIsNoElfFile) {
  EXPECT_TRUE(libc::read_symbols("/etc/passwd").symbols.empty());
}

}  // namespace
}  // namespace ckpt::ids
