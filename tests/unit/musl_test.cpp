#include "libc/musl.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

#include "tracee/memory.hpp"

namespace ckpt::libc {
namespace {

// What the structures are made of, in this process: word by word, as 64-bit ones.
using MuslWords = std::array<std::uint64_t, 40>;

constexpr Tid kMuslBefore = 4711;
constexpr Tid kMuslNow = 815;
constexpr std::size_t kMuslList = 136 / 8;
constexpr std::size_t kMuslFiles = 192 / 8;

std::uint64_t address_of(const MuslWords& words, std::size_t byte = 0) {
  return reinterpret_cast<std::uint64_t>(words.data()) + byte;
}

struct Musl {
  alignas(64) MuslWords thread{};
  alignas(64) MuslWords other{};
  tracee::Memory memory{::getpid()};

  Musl() {
    thread[0] = thread[6] = 0;
    for (MuslWords* each : {&thread, &other}) (*each)[0] = address_of(*each);
    thread[2] = thread[3] = address_of(other);
    other[2] = other[3] = address_of(thread);
    thread[6] = kMuslBefore;  // and errno, 0
    thread[kMuslList] = address_of(thread, 136);
  }

  [[nodiscard]] Addr base() const { return Addr{address_of(thread)}; }
  void renew(std::vector<std::uint64_t> words = {}) {
    const std::array<MuslThread, 1> threads{{{base(), kMuslBefore, kMuslNow, std::move(words)}}};
    renew_musl_owners(memory, threads);
  }
};

std::uint32_t high(std::uint64_t word) { return static_cast<std::uint32_t>(word >> 32U); }
std::uint64_t in_high(std::uint32_t half) { return static_cast<std::uint64_t>(half) << 32U; }

TEST(Musl, FindsTheIdByTheStructureAroundIt) {
  Musl musl;
  EXPECT_EQ(find_musl_id(musl.memory, musl.base(), kMuslBefore), musl.base() + 48);
  EXPECT_FALSE(find_musl_id(musl.memory, musl.base(), kMuslNow));
  musl.thread[7] = kMuslNow;  // where 1.1.22 has it
  EXPECT_EQ(find_musl_id(musl.memory, musl.base(), kMuslNow), musl.base() + 56);
}

TEST(Musl, FindsNothingInWhatIsNoThread) {
  Musl musl;
  musl.thread[0] += 8;  // its own address
  EXPECT_FALSE(find_musl_id(musl.memory, musl.base(), kMuslBefore));
  musl.thread[0] -= 8;
  musl.other[2] = 0;  // the ring of threads
  EXPECT_FALSE(find_musl_id(musl.memory, musl.base(), kMuslBefore));
  musl.thread[3] = ~std::uint64_t{0};
  EXPECT_FALSE(find_musl_id(musl.memory, musl.base(), kMuslBefore));
  EXPECT_FALSE(find_musl_id(musl.memory, Addr{}, kMuslBefore));
  EXPECT_FALSE(find_musl_id(musl.memory, Addr{~std::uint64_t{7}}, kMuslBefore));
}

TEST(Musl, RenewsTheOwnersOfListedMutexesAlone) {
  Musl musl;
  alignas(64) MuslWords held{}, foreign{};
  // The lock word is the upper half of the first, the link the fifth word.
  held[0] = in_high(static_cast<std::uint32_t>(kMuslBefore) | 0x80000000U) | 1;
  foreign[0] = in_high(kMuslBefore + 1) | 1;
  musl.thread[kMuslList] = address_of(held, 32);
  held[4] = address_of(foreign, 32);
  foreign[4] = address_of(musl.thread, 136);
  musl.renew();
  EXPECT_EQ(high(held[0]), static_cast<std::uint32_t>(kMuslNow) | 0x80000000U);
  EXPECT_EQ(high(foreign[0]), static_cast<std::uint32_t>(kMuslBefore + 1));
  EXPECT_EQ(musl.thread[6], static_cast<std::uint64_t>(kMuslBefore));
}

TEST(Musl, LeavesAListAloneThatLeadsNowhere) {
  Musl musl;
  alignas(64) MuslWords held{};
  held[0] = in_high(kMuslBefore);
  musl.thread[kMuslList] = address_of(held, 32);
  held[4] = address_of(held, 32);  // never back to the head
  musl.renew();
  EXPECT_EQ(high(held[0]), static_cast<std::uint32_t>(kMuslBefore));
}

TEST(Musl, RenewsTheOwnersOfFiles) {
  Musl musl;
  alignas(64) MuslWords locked{}, used{}, none{};
  constexpr std::size_t kLock = 136 / 8;  // the upper half
  locked[kLock] = in_high(kMuslBefore);
  used[kLock] = in_high(static_cast<std::uint32_t>(kMuslBefore) | 0x40000000U);
  none[kLock] = in_high(kMuslBefore);
  none[6] = 1;  // must be zero in a file
  musl.thread[kMuslFiles] = address_of(locked);
  musl.renew({address_of(used), address_of(none), 3, ~std::uint64_t{0}});
  EXPECT_EQ(high(locked[kLock]), static_cast<std::uint32_t>(kMuslNow));
  EXPECT_EQ(high(used[kLock]), static_cast<std::uint32_t>(kMuslNow) | 0x40000000U);
  EXPECT_EQ(high(none[kLock]), static_cast<std::uint32_t>(kMuslBefore));
}

}  // namespace
}  // namespace ckpt::libc
