// Which pages hold bytes of their own, asked about memory of this process.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "base/io.hpp"
#include "proc/pagemap.hpp"

namespace ckpt::proc {
namespace {

constexpr int kGuardInstall = 102;  // MADV_GUARD_INSTALL, Linux 6.13

using Runs = std::vector<PageRun>;

TEST(MergeRuns, JoinsWhatTouchesOrOverlaps) {
  struct Row {
    Runs input, expected;
  };
  const auto run = [](std::uint64_t start, std::uint64_t end) {
    return PageRun{Addr{start}, Addr{end}};
  };
  for (const Row& row :
       {Row{{}, {}}, Row{{run(1, 2)}, {run(1, 2)}}, Row{{run(1, 2), run(2, 3)}, {run(1, 3)}},
        Row{{run(1, 5), run(2, 3)}, {run(1, 5)}}, Row{{run(1, 3), run(2, 5)}, {run(1, 5)}},
        Row{{run(1, 2), run(3, 4)}, {run(1, 2), run(3, 4)}},
        Row{{run(1, 2), run(1, 2), run(1, 2)}, {run(1, 2)}}}) {
    EXPECT_EQ(merge_runs(row.input), row.expected);
  }
}

TEST(SubtractRuns, LeavesWhatIsOutside) {
  struct Row {
    Runs runs, without, expected;
  };
  const auto run = [](std::uint64_t start, std::uint64_t end) {
    return PageRun{Addr{start}, Addr{end}};
  };
  for (const Row& row :
       {Row{{}, {run(1, 2)}, {}}, Row{{run(1, 5)}, {}, {run(1, 5)}},
        Row{{run(1, 5)}, {run(2, 3)}, {run(1, 2), run(3, 5)}},
        Row{{run(1, 5)}, {run(1, 2), run(4, 9)}, {run(2, 4)}},
        Row{{run(1, 3), run(5, 9)}, {run(2, 7)}, {run(1, 2), run(7, 9)}},
        Row{{run(4, 5)}, {run(1, 9)}, {}}, Row{{run(4, 5)}, {run(5, 9)}, {run(4, 5)}}})
    EXPECT_EQ(subtract_runs(row.runs, row.without), row.expected);
}

TEST(Runs, ClippedToAPart) {
  const std::vector<PageRun> runs = {{Addr{2}, Addr{4}}, {Addr{6}, Addr{9}}, {Addr{12}, Addr{13}}};
  EXPECT_EQ(clip_runs(runs, Addr{0}, Addr{20}), runs);
  EXPECT_EQ(clip_runs(runs, Addr{3}, Addr{7}),
            (std::vector<PageRun>{{Addr{3}, Addr{4}}, {Addr{6}, Addr{7}}}));
  EXPECT_EQ(clip_runs(runs, Addr{7}, Addr{8}), (std::vector<PageRun>{{Addr{7}, Addr{8}}}));
  EXPECT_TRUE(clip_runs(runs, Addr{4}, Addr{6}).empty());
  EXPECT_TRUE(clip_runs({}, Addr{0}, Addr{20}).empty());
}

class OwnPages : public ::testing::Test {
 protected:
  static constexpr std::size_t kPages = 16;

  void SetUp() override {
    memory_ = static_cast<std::byte*>(::mmap(nullptr, kPages * kPageSize, PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_NE(memory_, MAP_FAILED);
    ::madvise(memory_, kPages * kPageSize, MADV_NOHUGEPAGE);
  }
  void TearDown() override { ::munmap(memory_, kPages * kPageSize); }

  [[nodiscard]] Addr page(std::size_t index) const {
    return Addr{reinterpret_cast<std::uint64_t>(memory_) + index * kPageSize};
  }
  void touch(std::size_t index) { memory_[index * kPageSize] = std::byte{1}; }
  void peek(std::size_t index) {
    sink_ = *const_cast<const volatile std::byte*>(&memory_[index * kPageSize]);
  }

  std::byte* memory_ = nullptr;
  std::byte sink_{};
  UniqueFd fd_ = open_file("/proc/self/pagemap", O_RDONLY);
  Pagemap pagemap_{fd_.get()};
  Pagemap without_scan_{fd_.get(), false};
};

TEST_F(OwnPages, NeverTouchedIsNothing) {
  EXPECT_EQ(pagemap_.private_runs(page(0), page(kPages)), Runs{});
  EXPECT_EQ(pagemap_.present_runs(page(0), page(kPages)), Runs{});
  EXPECT_EQ(pagemap_.private_runs(page(3), page(3)), Runs{});
}

TEST_F(OwnPages, WrittenPagesAreFoundInRuns) {
  for (const std::size_t index : {2UL, 3UL, 4UL, 7UL, 15UL}) touch(index);
  const Runs expected = {{page(2), page(5)}, {page(7), page(8)}, {page(15), page(16)}};
  EXPECT_EQ(pagemap_.private_runs(page(0), page(kPages)), expected);
  const Runs part = {{page(3), page(5)}};
  EXPECT_EQ(pagemap_.private_runs(page(3), page(7)), part);
}

TEST_F(OwnPages, PagesThatWereOnlyReadHoldNothing) {
  // Not so without PAGEMAP_SCAN, where the kernel's zero page looks like any other: then it is only
  // larger, which is allowed; so ask only that the written page is there.
  peek(1);
  touch(5);
  const Runs runs = pagemap_.private_runs(page(4), page(kPages));
  const Runs expected = {{page(5), page(6)}};
  EXPECT_EQ(runs, expected);
}

TEST_F(OwnPages, DiscardedPagesAreGone) {
  touch(1);
  ASSERT_EQ(::madvise(memory_ + kPageSize, kPageSize, MADV_DONTNEED), 0);
  EXPECT_EQ(pagemap_.private_runs(page(0), page(kPages)), Runs{});
}

TEST_F(OwnPages, ProtectionDoesNotHideContent) {
  touch(1);
  ASSERT_EQ(::mprotect(memory_, kPages * kPageSize, PROT_NONE), 0);
  const Runs expected = {{page(1), page(2)}};
  EXPECT_EQ(pagemap_.private_runs(page(0), page(kPages)), expected);
}

TEST_F(OwnPages, GuardPagesAreTold) {
  touch(1);
  touch(2);
  if (::madvise(memory_ + 2 * kPageSize, 2 * kPageSize, kGuardInstall) != 0)
    GTEST_SKIP() << "this kernel has no guard pages";
  const Runs content = {{page(1), page(2)}};
  EXPECT_EQ(pagemap_.private_runs(page(0), page(kPages)), content);
  const Runs guards = {{page(2), page(4)}};
  const Runs found = pagemap_.guard_runs(page(0), page(kPages));
  if (found.empty()) GTEST_SKIP() << "this kernel does not tell guard pages";
  EXPECT_EQ(found, guards);
}

TEST_F(OwnPages, MoreRunsThanOneAnswerHolds) {
  constexpr std::size_t kMany = 4096;
  auto* memory = static_cast<std::byte*>(::mmap(nullptr, kMany * kPageSize, PROT_READ | PROT_WRITE,
                                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(memory, MAP_FAILED);
  ::madvise(memory, kMany * kPageSize, MADV_NOHUGEPAGE);
  for (std::size_t i = 0; i < kMany; i += 2) memory[i * kPageSize] = std::byte{1};
  const Addr start{reinterpret_cast<std::uint64_t>(memory)};
  const Runs runs = pagemap_.private_runs(start, start + kMany * kPageSize);
  EXPECT_EQ(runs.size(), kMany / 2);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    EXPECT_EQ(runs[i].start, start + 2 * i * kPageSize);
    EXPECT_EQ(runs[i].size(), kPageSize);
  }
  ::munmap(memory, kMany * kPageSize);
}

TEST_F(OwnPages, AMappingLargerThanMemoryIsQuick) {
  // As a sanitizer's shadow: 1 TiB, of which two pages exist.
  constexpr std::uint64_t kSize = 1ULL << 40U;
  auto* memory = static_cast<std::byte*>(::mmap(
      nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (memory == MAP_FAILED) GTEST_SKIP() << "no room for a mapping of 1 TiB";
  ::madvise(memory, kSize, MADV_NOHUGEPAGE);
  memory[kSize / 2] = std::byte{1};
  memory[kSize - 1] = std::byte{1};
  const Addr start{reinterpret_cast<std::uint64_t>(memory)};
  const Runs expected = {{start + kSize / 2, start + kSize / 2 + kPageSize},
                         {start + kSize - kPageSize, start + kSize}};
  EXPECT_EQ(pagemap_.private_runs(start, start + kSize), expected);
  ::munmap(memory, kSize);
}

TEST_F(OwnPages, WithoutScanTheSamePagesAreFound) {
  for (const std::size_t index : {2UL, 3UL, 4UL, 7UL, 15UL}) touch(index);
  const Runs expected = {{page(2), page(5)}, {page(7), page(8)}, {page(15), page(16)}};
  EXPECT_EQ(without_scan_.private_runs(page(0), page(kPages)), expected);
  EXPECT_EQ(without_scan_.present_runs(page(0), page(kPages)), expected);
  const Runs part = {{page(3), page(5)}};
  EXPECT_EQ(without_scan_.private_runs(page(3), page(7)), part);
  EXPECT_EQ(without_scan_.swapped_runs(page(0), page(kPages)),
            pagemap_.swapped_runs(page(0), page(kPages)));
  EXPECT_EQ(without_scan_.private_runs(page(3), page(3)), Runs{});
}

TEST_F(OwnPages, WithoutScanGuardPagesAreNoContent) {
  touch(1);
  if (::madvise(memory_ + 2 * kPageSize, 2 * kPageSize, kGuardInstall) != 0)
    GTEST_SKIP() << "this kernel has no guard pages";
  if (!pagemap_.tells_guards()) GTEST_SKIP() << "this kernel does not tell guard pages";
  EXPECT_FALSE(without_scan_.tells_guards());
  EXPECT_EQ(without_scan_.guard_runs(page(0), page(kPages)), Runs{});
  const Runs content = {{page(1), page(2)}};
  EXPECT_EQ(without_scan_.private_runs(page(0), page(kPages)), content);
  EXPECT_EQ(without_scan_.present_runs(page(0), page(kPages)), content);
  const Runs guards = {{page(2), page(4)}};
  EXPECT_EQ(without_scan_.swapped_runs(page(0), page(kPages)), guards);
  EXPECT_EQ(pagemap_.swapped_runs(page(0), page(kPages)), guards);
}

TEST_F(OwnPages, WithoutScanARunGoesOnInTheNextAnswer) {
  constexpr std::size_t kAnswer = 65536;  // pages that are asked for at a time
  constexpr std::size_t kMany = 2 * kAnswer + 2;
  auto* memory =
      static_cast<std::byte*>(::mmap(nullptr, kMany * kPageSize, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  ASSERT_NE(memory, MAP_FAILED);
  ::madvise(memory, kMany * kPageSize, MADV_NOHUGEPAGE);
  for (const std::size_t index : {kAnswer - 1, kAnswer, kMany - 1})
    memory[index * kPageSize] = std::byte{1};
  const Addr start{reinterpret_cast<std::uint64_t>(memory)};
  const auto at = [start](std::size_t index) { return start + index * kPageSize; };
  const Runs expected = {{at(kAnswer - 1), at(kAnswer + 1)}, {at(kMany - 1), at(kMany)}};
  EXPECT_EQ(without_scan_.private_runs(start, at(kMany)), expected);
  ::munmap(memory, kMany * kPageSize);
}

TEST(Pagemap, AFileMappingHoldsOnlyWhatWasWritten) {
  const UniqueFd exe = open_file("/proc/self/exe", O_RDONLY);
  constexpr std::size_t kSize = 4 * kPageSize;
  auto* memory = static_cast<std::byte*>(
      ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE, exe.get(), 0));
  ASSERT_NE(memory, MAP_FAILED);
  // Read, so that they are present. (MAP_POPULATE would write to each, as far as the kernel cares.)
  for (std::size_t i = 0; i < kSize; i += kPageSize)
    static_cast<void>(*const_cast<const volatile std::byte*>(memory + i));
  memory[2 * kPageSize] = std::byte{1};
  const UniqueFd fd = open_file("/proc/self/pagemap", O_RDONLY);
  const Addr start{reinterpret_cast<std::uint64_t>(memory)};
  const Runs expected = {{start + 2 * kPageSize, start + 3 * kPageSize}};
  EXPECT_EQ(Pagemap(fd.get()).private_runs(start, start + kSize), expected);
  EXPECT_EQ(Pagemap(fd.get(), false).private_runs(start, start + kSize), expected);
  const Runs all = {{start, start + kSize}};
  EXPECT_EQ(Pagemap(fd.get(), false).present_runs(start, start + kSize), all);
  ::munmap(memory, kSize);
}

}  // namespace
}  // namespace ckpt::proc
