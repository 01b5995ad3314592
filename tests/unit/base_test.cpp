#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/fault.hpp"
#include "base/io.hpp"
#include "base/long_work.hpp"
#include "base/threads.hpp"
#include "base/types.hpp"
#include "base/unique_fd.hpp"
#include "support.hpp"

namespace ckpt {
namespace {

using test::bytes_of;
using test::expect_error;

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

UniqueFd memory_file(std::string_view content) {
  UniqueFd fd(::memfd_create("unit-test", MFD_CLOEXEC));
  write_all(fd.get(), content, "test file");
  return fd;
}

// --- Errors
// ---------------------------------------------------------------------------------------

TEST(Error, ReadsFromTheOutsideIn) {
  Error error(ErrorKind::system, "ptrace(GETREGSET): No such process (ESRCH)", ESRCH);
  error.add_context("thread 4242").add_context("save");
  EXPECT_STREQ(error.what(), "save: thread 4242: ptrace(GETREGSET): No such process (ESRCH)");
  EXPECT_EQ(error.error_number(), ESRCH);
}

TEST(Error, KindNamesAreDistinctAndStable) {
  std::set<std::string_view> names;
  for (int kind = 0; kind <= static_cast<int>(ErrorKind::fault); ++kind)
    names.insert(kind_name(static_cast<ErrorKind>(kind)));
  const std::set<std::string_view> expected = {
      "usage",       "system", "process-gone", "refused", "damaged", "unsupported",
      "interrupted", "exists", "not-found",    "files",   "fault"};
  EXPECT_EQ(names, expected);
}

TEST(Error, ErrnoIsNamed) {
  EXPECT_EQ(describe_errno(ENOENT), "No such file or directory (ENOENT)");
  EXPECT_EQ(describe_errno(99999), "error 99999");
}

TEST(Error, ADeadProcessIsAKindOfItsOwn) {
  expect_error([] { throw_errno("wait", ESRCH); }, ErrorKind::process_gone, "wait: No such");
  expect_error([] { throw_errno("open", EACCES); }, ErrorKind::system, "(EACCES)");
}

// --- Types
// ----------------------------------------------------------------------------------------

TEST(Addr, PrintsAsHex) { EXPECT_EQ(fmt::format("{}", Addr{0x7fff1000}), "0x7fff1000"); }

TEST(Addr, DifferencesAreNumbers) {
  EXPECT_EQ(Addr{0x3000} - Addr{0x1000}, 0x2000U);
  EXPECT_EQ(Addr{0x3000} - 0x1000, Addr{0x2000});
  EXPECT_LT(Addr{1}, Addr{2});
  EXPECT_FALSE(Addr{});
}

TEST(Pages, RoundBothWays) {
  struct Row {
    std::uint64_t value, down, up;
  };
  for (const Row& row :
       {Row{0, 0, 0}, Row{1, 0, 4096}, Row{4095, 0, 4096}, Row{4096, 4096, 4096},
        Row{4097, 4096, 8192}, Row{0x7ffffffff001, 0x7fffffff'f000, 0x800000000000}}) {
    EXPECT_EQ(page_down(row.value), row.down) << row.value;
    EXPECT_EQ(page_up(row.value), row.up) << row.value;
  }
}

// --- Descriptors
// ----------------------------------------------------------------------------------

TEST(UniqueFd, ClosesOnceAndMoves) {
  UniqueFd first(::dup(0));
  const int number = first.get();
  ASSERT_GE(number, 0);
  UniqueFd second(std::move(first));
  EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): that is the question
  EXPECT_TRUE(is_open(number));
  UniqueFd third;
  third = std::move(second);
  EXPECT_EQ(third.get(), number);
  third.reset();
  EXPECT_FALSE(is_open(number));
}

TEST(UniqueFd, AssigningClosesTheOldOne) {
  UniqueFd kept(::dup(0));
  UniqueFd replaced(::dup(0));
  const int old_number = replaced.get();
  replaced = std::move(kept);
  EXPECT_FALSE(is_open(old_number));
  EXPECT_TRUE(is_open(replaced.get()));
}

TEST(UniqueFd, ReleaseGivesTheDescriptorAway) {
  int number = -1;
  {
    UniqueFd fd(::dup(0));
    number = fd.release();
  }
  EXPECT_TRUE(is_open(number));
  ::close(number);
}

// --- Reading and writing
// --------------------------------------------------------------------------

TEST(Io, OpenNamesThePathAndClosesOnExec) {
  expect_error([] { open_file("/nonexistent/file", O_RDONLY); }, ErrorKind::system,
               "open /nonexistent/file: No such file or directory (ENOENT)");
  const UniqueFd fd = open_file("/dev/null", O_RDONLY);
  EXPECT_NE(::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(Io, PreadExactTellsAPrematureEnd) {
  const UniqueFd fd = memory_file("0123456789");
  std::array<std::byte, 4> buffer{};
  EXPECT_TRUE(pread_exact(fd.get(), buffer, 6, "test"));
  EXPECT_EQ(buffer[0], std::byte{'6'});
  EXPECT_FALSE(pread_exact(fd.get(), buffer, 7, "test"));
  EXPECT_FALSE(pread_exact(fd.get(), buffer, 1000, "test"));
  EXPECT_TRUE(pread_exact(fd.get(), {}, 1000, "test"));
}

TEST(Io, FailuresNameWhatWasRead) {
  std::array<std::byte, 4> buffer{};
  expect_error([&] { pread_exact(-1, buffer, 0, "registers of thread 7"); }, ErrorKind::system,
               "registers of thread 7");
  const UniqueFd full = open_file("/dev/full", O_WRONLY);
  expect_error([&] { write_all(full.get(), "x", "snap.ckpt"); }, ErrorKind::system, "(ENOSPC)");
  expect_error([&] { pwrite_all(full.get(), bytes_of("x"), 0, "snap.ckpt"); }, ErrorKind::system,
               "snap.ckpt");
}

TEST(Io, PwriteLeavesThePositionAlone) {
  const UniqueFd fd = memory_file("abc");
  pwrite_all(fd.get(), bytes_of("XY"), 5, "test");
  EXPECT_EQ(::lseek(fd.get(), 0, SEEK_CUR), 3);
  std::array<std::byte, 7> buffer{};
  ASSERT_TRUE(pread_exact(fd.get(), buffer, 0, "test"));
  EXPECT_EQ(digest_hex(buffer), digest_hex(bytes_of(std::string_view("abc\0\0XY", 7))));
}

TEST(Io, ReadFileKeepsToItsLimit) {
  const UniqueFd fd = memory_file(std::string(100'000, 'x'));
  const std::string path = fmt::format("/proc/self/fd/{}", fd.get());
  EXPECT_EQ(read_file(path).size(), 100'000U);
  EXPECT_EQ(read_file(path, 100'000).size(), 100'000U);
  expect_error([&] { read_file(path, 99'999); }, ErrorKind::unsupported, "longer than 99999");
  EXPECT_EQ(try_read_file("/nonexistent"), std::nullopt);
}

TEST(Io, ReadLink) {
  EXPECT_EQ(try_read_link("/proc/self/cwd"), std::filesystem::current_path().string());
  EXPECT_EQ(try_read_link("/dev/null"), std::nullopt);
}

// --- Digests
// --------------------------------------------------------------------------------------

TEST(Digest, OfAFileIsThatOfItsContent) {
  for (const std::size_t size :
       {0UL, 1UL, 4096UL, (1UL << 20U) - 1, 1UL << 20U, (3UL << 20U) + 5}) {
    std::string content(size, '\0');
    for (std::size_t i = 0; i < size; ++i) content[i] = static_cast<char>(i * 31 + i / 251);
    const UniqueFd fd = memory_file(content);
    std::uint64_t size_bytes = 0;
    EXPECT_EQ(digest_file(fd.get(), "test", size_bytes), digest_hex(bytes_of(content)));
    EXPECT_EQ(size_bytes, size);
  }
}

// A file of one TiB, which has these bytes only.
UniqueFd enormous_file(const std::map<off_t, std::string>& pieces) {
  UniqueFd fd = memory_file("");
  EXPECT_EQ(::ftruncate(fd.get(), off_t{1} << 40U), 0);
  for (const auto& [offset, bytes] : pieces)
    EXPECT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), offset),
              static_cast<ssize_t>(bytes.size()));
  return fd;
}

TEST(Digest, OfAnEnormousFileIsThatOfWhatIsInIt) {
  constexpr off_t kEnd = (off_t{1} << 40U) - 3;
  const auto digest = [](const std::map<off_t, std::string>& pieces) {
    const UniqueFd fd = enormous_file(pieces);
    ::lseek(fd.get(), 5, SEEK_SET);
    std::uint64_t size_bytes = 0;
    const std::string text = digest_file(fd.get(), "test", size_bytes);
    EXPECT_EQ(size_bytes, std::uint64_t{1} << 40U);
    EXPECT_EQ(::lseek(fd.get(), 0, SEEK_CUR), 5);
    EXPECT_TRUE(has_digest(fd.get(), "test", text));
    return text;
  };
  EXPECT_EQ(digest({{kEnd, "far"}}), "6ac847b7c1b609144f772a56fdf39410");
  EXPECT_EQ(digest({{kEnd, "far"}}), digest({{kEnd, "far"}, {123456, std::string(3 << 20, '\0')}}));
  EXPECT_NE(digest({{kEnd, "far"}}), digest({{kEnd, "fat"}}));
  EXPECT_NE(digest({{1 << 20, "a"}}), digest({{2 << 20, "a"}}));
  EXPECT_NE(digest({}), digest({{0, "a"}}));
}

TEST(Io, AnEnormousFileIsCopiedWithItsHoles) {
  const UniqueFd from = enormous_file({{off_t{1} << 39U, "middle"}});
  const UniqueFd to = memory_file("");
  copy_content(from.get(), to.get(), std::uint64_t{1} << 40U, "test");
  std::array<char, 7> now{};
  EXPECT_EQ(::pread(to.get(), now.data(), 6, off_t{1} << 39U), 6);
  EXPECT_STREQ(now.data(), "middle");
  EXPECT_EQ(next_data(to.get(), (1ULL << 39U) + kPageSize, 1ULL << 40U), 1ULL << 40U);
}

TEST(LongWork, EndsWhenItIsToldTo) {
  const UniqueFd fd = memory_file(std::string(5U << 20U, 'x'));
  const UniqueFd to = memory_file("");
  std::uint64_t size_bytes = 0;
  std::vector<std::uint64_t> told;
  {
    const WatchedWork watched([&](std::uint64_t done, std::uint64_t all) {
      EXPECT_EQ(all, 5U << 20U);
      told.push_back(done);
      return told.size() < 3;
    });
    expect_error([&] { digest_file(fd.get(), "test", size_bytes); }, ErrorKind::interrupted,
                 "interrupted");
    EXPECT_EQ(told.size(), 3U);
    expect_error([&] { copy_content(fd.get(), to.get(), 5U << 20U, "test"); },
                 ErrorKind::interrupted, "interrupted");
    expect_error([&] { copy_content_in_place(fd.get(), to.get(), 5U << 20U, "test"); },
                 ErrorKind::interrupted, "interrupted");
  }
  digest_file(fd.get(), "test", size_bytes);
  EXPECT_EQ(size_bytes, 5U << 20U);
}

TEST(Digest, IsStable) {
  // Digests name files in stores and check chunks of images: they may never change.
  EXPECT_EQ(digest64({}), 0x2d06800538d394c2U);
  EXPECT_EQ(digest_hex({}), "99aa06d3014798d86001c324468d497f");
  EXPECT_NE(digest64(bytes_of("a")), digest64(bytes_of("b")));
}

// --- Fault points
// ---------------------------------------------------------------------------------

TEST(Fault, FiresWhenArmedAndOnlyThen) {
  for (const std::string_view name : fault_names()) {
    arm_fault(std::string(name));
    for (const std::string_view other : fault_names()) {
      if (other == name)
        expect_error([&] { fault_point(other); }, ErrorKind::fault, std::string(name));
      else
        EXPECT_NO_THROW(fault_point(other));
    }
  }
  arm_fault("");
  for (const std::string_view name : fault_names()) EXPECT_NO_THROW(fault_point(name));
}

TEST(Fault, AnUnknownNameIsAnError) {
  expect_error([] { arm_fault("no-such-point"); }, ErrorKind::usage, "no-such-point");
}

TEST(Fault, NamesAreDistinct) {
  const auto names = fault_names();
  EXPECT_EQ(std::set<std::string_view>(names.begin(), names.end()).size(), names.size());
}

// For this process and all threads it has: none is granted any more.
void refuse_threads() {
  constexpr auto kCode = [](unsigned what) { return static_cast<unsigned short>(what); };
  std::array<sock_filter, 5> code = {{
      {kCode(BPF_LD | BPF_W | BPF_ABS), 0, 0, 0},
      {kCode(BPF_JMP | BPF_JEQ | BPF_K), 1, 0, SYS_clone},
      {kCode(BPF_JMP | BPF_JEQ | BPF_K), 0, 1, SYS_clone3},
      {kCode(BPF_RET | BPF_K), 0, 0, SECCOMP_RET_ERRNO | EAGAIN},
      {kCode(BPF_RET | BPF_K), 0, 0, SECCOMP_RET_ALLOW},
  }};
  const sock_fprog program = {code.size(), code.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    std::abort();
}

TEST(StartThreads, AsManyAsTheSystemGrants) {
  std::atomic<int> ran = 0;
  auto threads = start_threads(3, [&] { ++ran; });
  for (auto& each : threads) each.join();
  EXPECT_EQ(ran, 3);
  const auto none = [] {
    refuse_threads();
    // Without what runs at an exit: a sanitizer would want a thread.
    std::_Exit(static_cast<int>(start_threads(3, [] {}).size()));
  };
  EXPECT_EXIT(none(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace ckpt
