// The parsers of /proc, fed what kernels write and what they never should.
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "proc/fdinfo.hpp"
#include "proc/maps.hpp"
#include "proc/mounts.hpp"
#include "proc/process_dir.hpp"
#include "proc/status.hpp"
#include "proc/text.hpp"
#include "proc/timers.hpp"
#include "support.hpp"

namespace ckpt::proc {
namespace {

using test::expect_error;

// --- Numbers and words
// ----------------------------------------------------------------------------

TEST(Text, NumbersAreWholeWords) {
  EXPECT_EQ(parse_number<int>("42"), 42);
  EXPECT_EQ(parse_number<int>("-42"), -42);
  EXPECT_EQ(parse_number<std::uint64_t>("ffffffffffffffff", 16), UINT64_MAX);
  for (const char* bad : {"", " 1", "1 ", "+1", "0x1", "1x", "-"})
    EXPECT_EQ(parse_number<int>(bad), std::nullopt) << bad;
  EXPECT_EQ(parse_number<unsigned>("-1"), std::nullopt);
  EXPECT_EQ(parse_number<std::uint64_t>("10000000000000000", 16), std::nullopt);
  EXPECT_EQ(parse_number<int>("2147483648"), std::nullopt);
}

TEST(Text, CutTakesTheSeparatorAway) {
  std::string_view text = "a:b";
  EXPECT_EQ(cut(text, ':'), "a");
  EXPECT_EQ(cut(text, ':'), "b");
  EXPECT_EQ(text, "");
  EXPECT_EQ(cut(text, ':'), "");
  text = "::";
  EXPECT_EQ(cut(text, ':'), "");
  EXPECT_EQ(text, ":");
}

TEST(Text, WordsAreSeparatedByBlanksAndTabs) {
  std::string_view text = " \ta\tb  c ";
  EXPECT_EQ(next_word(text), "a");
  EXPECT_EQ(next_word(text), "b");
  EXPECT_EQ(next_word(text), "c");
  EXPECT_EQ(next_word(text), "");
  EXPECT_EQ(text, "");
}

// --- maps
// -----------------------------------------------------------------------------------------

Mapping parse_one(const std::string& line) {
  const auto mappings = parse_maps(line);
  EXPECT_EQ(mappings.size(), 1U) << line;
  return mappings.empty() ? Mapping{} : mappings.front();
}

TEST(Mounts, PlacesWithBlanks) {
  const auto mounts = parse_mounts(
      "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
      "36 22 0:31 /sub /mnt/a\\040b\\134 rw - tmpfs tmpfs rw\n");
  ASSERT_EQ(mounts.size(), 2U);
  EXPECT_EQ(mounts[0].id, 22);
  EXPECT_EQ(mounts[0].device, gnu_dev_makedev(8, 1));
  EXPECT_EQ(mounts[0].place, "/");
  EXPECT_EQ(mounts[1].id, 36);
  EXPECT_EQ(mounts[1].device, gnu_dev_makedev(0, 31));
  EXPECT_EQ(mounts[1].place, "/mnt/a b\\");
}

TEST(Mounts, WhatIsNoMountIsLeftOut) {
  EXPECT_TRUE(parse_mounts("").empty());
  EXPECT_TRUE(parse_mounts("x 1 8:1 / / rw\n22 1 8 / / rw\n22 1 a:b / / rw\n\n").empty());
  const auto cut_off = parse_mounts("22 1 8:1 /");
  ASSERT_EQ(cut_off.size(), 1U);
  EXPECT_EQ(cut_off[0].place, "");
}

TEST(Maps, Permissions) {
  struct Row {
    std::string text;
    bool read, write, exec, shared;
  };
  for (const Row& row :
       {Row{"r-xp", true, false, true, false}, Row{"rw-p", true, true, false, false},
        Row{"---p", false, false, false, false}, Row{"rwxs", true, true, true, true},
        Row{"--xp", false, false, true, false}}) {
    const Mapping mapping = parse_one("1000-2000 " + row.text + " 00000000 00:00 0 \n");
    EXPECT_EQ(mapping.read, row.read) << row.text;
    EXPECT_EQ(mapping.write, row.write) << row.text;
    EXPECT_EQ(mapping.exec, row.exec) << row.text;
    EXPECT_EQ(mapping.shared, row.shared) << row.text;
  }
}

TEST(Maps, AFileMapping) {
  const Mapping mapping = parse_one(
      "7f0a1c000000-7f0a1c021000 r-xp 0000a000 fe:1f 247134                     /usr/bin/cat\n");
  EXPECT_EQ(mapping.start, Addr{0x7f0a1c000000});
  EXPECT_EQ(mapping.end, Addr{0x7f0a1c021000});
  EXPECT_EQ(mapping.size(), 0x21000U);
  EXPECT_EQ(mapping.offset_bytes, 0xa000U);
  EXPECT_EQ(mapping.dev_major, 0xfeU);
  EXPECT_EQ(mapping.dev_minor, 0x1fU);
  EXPECT_EQ(mapping.inode, 247134U);
  EXPECT_EQ(mapping.path, "/usr/bin/cat");
  EXPECT_FALSE(mapping.deleted);
  EXPECT_TRUE(mapping.has_object());
  EXPECT_TRUE(mapping.contains(mapping.start));
  EXPECT_FALSE(mapping.contains(mapping.end));
}

TEST(Maps, Paths) {
  struct Row {
    std::string inode, text, path;
    bool deleted;
  };
  for (const Row& row : {
           Row{"0", "", "", false},
           Row{"0", "[heap]", "[heap]", false},
           Row{"0", "[anon:my arena]", "[anon:my arena]", false},
           Row{"5", "/a b/c  d", "/a b/c  d", false},
           Row{"5", "/tmp/x (deleted)", "/tmp/x", true},
           // Twice: a file whose name ends like that, deleted.
           Row{"5", "/tmp/x (deleted) (deleted)", "/tmp/x (deleted)", true},
           Row{"5", "/dev/zero (deleted)", "/dev/zero", true},
           Row{"5", "/memfd:name with blanks (deleted)", "/memfd:name with blanks", true},
           Row{"5", "/SYSV00000000 (deleted)", "/SYSV00000000", true},
           Row{"5", R"(/tmp/new\012line)", "/tmp/new\nline", false},
           Row{"5", R"(/tmp/back\slash\01)", R"(/tmp/back\slash\01)", false},
           Row{"5", "/tmp/\xff\xfe", "/tmp/\xff\xfe", false},
       }) {
    const Mapping mapping = parse_one("1000-2000 r--p 00000000 fe:00 " + row.inode +
                                      std::string(20, ' ') + row.text + "\n");
    EXPECT_EQ(mapping.path, row.path);
    EXPECT_EQ(mapping.deleted, row.deleted) << row.text;
  }
}

TEST(Maps, KernelSpecials) {
  struct Row {
    std::string path;
    bool special;
  };
  for (const Row& row : {Row{"[vdso]", true}, Row{"[vvar]", true}, Row{"[vvar_vclock]", true},
                         Row{"[vsyscall]", true}, Row{"[heap]", false}, Row{"[stack]", false},
                         Row{"", false}, Row{"/tmp/[vdso]", false}}) {
    const std::string inode = row.path.starts_with("/") ? "9 " : "0 ";
    EXPECT_EQ(
        parse_one("1000-2000 r--p 00000000 00:00 " + inode + row.path + "\n").is_kernel_special(),
        row.special)
        << row.path;
  }
}

TEST(Maps, SmapsDetails) {
  const auto mappings = parse_maps(
      "1000-2000 rw-p 00000000 00:00 0 \n"
      "Size:                  4 kB\n"
      "KernelPageSize:     2048 kB\n"
      "THPeligible:           0\n"
      "ProtectionKey:         3\n"
      "VmFlags: rd wr mr mw me ac sd \n"
      "2000-3000 rw-s 00000000 00:01 9                          /dev/shm/Name: with colon\n"
      "VmFlags: rd dd\n");
  ASSERT_EQ(mappings.size(), 2U);
  EXPECT_EQ(mappings[0].protection_key, 3);
  EXPECT_EQ(mappings[0].page_bytes, 2U << 20U);
  EXPECT_EQ(mappings[1].page_bytes, kPageSize);
  EXPECT_TRUE(mappings[0].has_flag("sd"));
  EXPECT_FALSE(mappings[0].has_flag("dd"));
  EXPECT_EQ(mappings[0].flags.size(), 7U);
  EXPECT_EQ(mappings[1].path, "/dev/shm/Name: with colon");
  EXPECT_TRUE(mappings[1].has_flag("dd"));
}

TEST(Maps, AnEmptyFileHasNoMappings) {
  EXPECT_TRUE(parse_maps("").empty());
  EXPECT_TRUE(parse_maps("\n").empty());
}

TEST(Maps, TheLastLineNeedsNoNewline) {
  EXPECT_EQ(parse_one("1000-2000 r--p 00000000 fe:00 1 /x").path, "/x");
}

TEST(Maps, MalformedLinesAreRejectedByName) {
  for (const char* line : {
           "garbage",
           "1000",
           "1000-",
           "-2000 r--p 00000000 00:00 0",
           "1000-2000",
           "1000-2000 r--p",
           "1000-2000 r--p 00000000",
           "1000-2000 r--p 00000000 00:00",
           "1000-2000 r--p 00000000 0000 0",
           "1000-2000 r--p 00000000 00: 0",
           "1000-2000 r--p 00000000 :00 0",
           "1000-2000 r--p zzzz 00:00 0",
           "1000-2000 r--p 00000000 00:00 inode",
           "1000-2000 r--p 00000000 00:00 -1",
           "1000-2000 r-- 00000000 00:00 0",
           "1000-2000 r--pp 00000000 00:00 0",
           "1000-2000 wr-p 00000000 00:00 0",
           "1000-2000 r--x 00000000 00:00 0",
           "2000-1000 r--p 00000000 00:00 0",
           "1000-1000 r--p 00000000 00:00 0",
           "1001-2000 r--p 00000000 00:00 0",
           "1000-2001 r--p 00000000 00:00 0",
           "10000000000000000-10000000000001000 r--p 00000000 00:00 0",
           "0x1000-0x2000 r--p 00000000 00:00 0",
       }) {
    expect_error([&] { parse_maps(std::string(line) + "\n"); }, ErrorKind::unsupported, line);
  }
}

TEST(Maps, MisplacedLinesAreRejected) {
  expect_error([] { parse_maps("VmFlags: rd wr\n"); }, ErrorKind::unsupported, "VmFlags");
  expect_error([] { parse_maps("1000-2000 r--p 0 00:00 0\nProtectionKey: x\n"); },
               ErrorKind::unsupported, "ProtectionKey");
  // The kernel lists mappings in ascending order and they never overlap.
  expect_error([] { parse_maps("2000-4000 r--p 0 00:00 0\n3000-5000 r--p 0 00:00 0\n"); },
               ErrorKind::unsupported, "3000-5000");
  expect_error([] { parse_maps("4000-5000 r--p 0 00:00 0\n2000-3000 r--p 0 00:00 0\n"); },
               ErrorKind::unsupported, "2000-3000");
}

TEST(Maps, OwnProcess) {
  const auto mappings = ProcessDir(::getpid()).detailed_mappings();
  const Addr here{reinterpret_cast<std::uint64_t>(&parse_one)};
  int code = 0;
  for (const Mapping& mapping : mappings)
    if (mapping.contains(here)) code += mapping.exec && mapping.has_flag("ex") ? 1 : 0;
  EXPECT_EQ(code, 1);
}

// --- status
// ---------------------------------------------------------------------------------------

constexpr std::string_view kStatus =
    "Name:\tserver (x)\n"
    "Umask:\t0027\n"
    "State:\tt (tracing stop)\n"
    "Tgid:\t4242\n"
    "Ngid:\t0\n"
    "Pid:\t4243\n"
    "PPid:\t17\n"
    "TracerPid:\t99\n"
    "Uid:\t1000\t1001\t1002\t4294967295\n"
    "Gid:\t100\t101\t102\t103\n"
    "FDSize:\t64\n"
    "Groups:\t4 24 27 \n"
    "NStgid:\t4242\t7\n"
    "NSpid:\t4243\t8\t1\n"
    "VmPeak:\t   10232 kB\n"
    "Threads:\t3\n"
    "SigQ:\t1/31334\n"
    "SigPnd:\t0000000000000400\n"
    "ShdPnd:\t8000000000000001\n"
    "SigBlk:\t0000000000010000\n"
    "SigIgn:\t0000000000380004\n"
    "SigCgt:\t000000004b817efb\n"
    "NoNewPrivs:\t1\n"
    "Seccomp:\t2\n"
    "Seccomp_filters:\t1\n";

TEST(Status, EveryField) {
  const Status status = parse_status(kStatus);
  EXPECT_EQ(status.name, "server (x)");
  EXPECT_EQ(status.state, 't');
  EXPECT_EQ(status.umask, 027U);
  EXPECT_EQ(status.tgid, 4242);
  EXPECT_EQ(status.pid, 4243);
  EXPECT_EQ(status.tracer, 99);
  EXPECT_EQ(status.ns_pids, (std::vector<Tid>{4243, 8, 1}));
  EXPECT_EQ(status.uids, (std::array<std::uint32_t, 4>{1000, 1001, 1002, 4294967295U}));
  EXPECT_EQ(status.gids, (std::array<std::uint32_t, 4>{100, 101, 102, 103}));
  EXPECT_EQ(status.threads, 3);
  EXPECT_EQ(status.pending, 0x400U);
  EXPECT_EQ(status.shared_pending, 0x8000000000000001U);
  EXPECT_EQ(status.blocked, 0x10000U);
  EXPECT_EQ(status.ignored, 0x380004U);
  EXPECT_EQ(status.caught, 0x4b817efbU);
  EXPECT_EQ(status.seccomp, 2);
  EXPECT_EQ(status.no_new_privs, 1);
}

TEST(Status, FieldsThatAnOlderKernelLacksKeepTheirDefaults) {
  const Status status = parse_status("Pid:\t1\n");
  EXPECT_EQ(status.seccomp, 0);
  EXPECT_TRUE(status.ns_pids.empty());
}

TEST(Status, MalformedLinesAreRejectedByName) {
  for (const char* line :
       {"Pid:\tx", "Pid:\t", "Pid:\t99999999999", "Tgid:\t1 2", "TracerPid:\t-", "Uid:\t1\t2\t3",
        "Uid:\t1\t2\t3\t-1", "Gid:\ta\tb\tc\td", "Umask:\t0088", "Threads:\t", "SigBlk:\txyz",
        "SigPnd:\t10000000000000000", "Seccomp:\tfilter", "NSpid:\t1\tx"}) {
    expect_error([&] { parse_status("Pid:\t1\n" + std::string(line) + "\n"); },
                 ErrorKind::unsupported, std::string(line).substr(0, 3));
  }
  expect_error([] { parse_status(""); }, ErrorKind::unsupported, "no Pid line");
  expect_error([] { parse_status("Name:\tx\n"); }, ErrorKind::unsupported, "no Pid line");
}

TEST(Status, OwnProcess) {
  const Status status = ProcessDir(::getpid()).status();
  EXPECT_EQ(status.pid, ::getpid());
  EXPECT_EQ(status.tgid, ::getpid());
  EXPECT_EQ(status.state, 'R');
  EXPECT_EQ(status.uids[1], ::geteuid());
}

// --- stat
// -----------------------------------------------------------------------------------------

// Fields 3 to 52 with field N holding the number N, the state aside.
std::string stat_line(const std::string& comm) {
  std::string line = "77 (" + comm + ") S";
  for (int field = 4; field <= 52; ++field) line += " " + std::to_string(field);
  return line + "\n";
}

TEST(Stat, FieldsAreCountedFromTheLastParenthesis) {
  for (const char* comm : {"cat", "a b", ") R 1 2 3", "((", "", "x) (y"}) {
    const Stat stat = parse_stat(stat_line(comm));
    EXPECT_EQ(stat.comm, comm);
    EXPECT_EQ(stat.state, 'S');
    EXPECT_EQ(stat.parent, 4);
    EXPECT_EQ(stat.process_group, 5);
    EXPECT_EQ(stat.session, 6);
    EXPECT_EQ(stat.tty_device, 7U);
    EXPECT_EQ(stat.start_time_ticks, 22U);
    EXPECT_EQ(stat.start_code, Addr{26});
    EXPECT_EQ(stat.end_code, Addr{27});
    EXPECT_EQ(stat.start_stack, Addr{28});
    EXPECT_EQ(stat.start_data, Addr{45});
    EXPECT_EQ(stat.end_data, Addr{46});
    EXPECT_EQ(stat.start_brk, Addr{47});
    EXPECT_EQ(stat.arg_start, Addr{48});
    EXPECT_EQ(stat.arg_end, Addr{49});
    EXPECT_EQ(stat.env_start, Addr{50});
    EXPECT_EQ(stat.env_end, Addr{51});
  }
}

TEST(Stat, MalformedTextIsRejected) {
  for (const char* text :
       {"", "1", "1 cat S 1 2 3", "1 (cat", "1 )cat( S", "1 (cat)", "1 (cat) S", "1 (cat) S 1 2 3",
        "1 (cat) S x 2 3 4", "1 (cat) S 1 2\n", "\n", "1\n2"}) {
    expect_error([&] { parse_stat(text); }, ErrorKind::unsupported, "/proc/PID/stat");
  }
  // Cut off anywhere before the last field that is asked for.
  const std::string whole = stat_line("cat");
  const std::size_t needed = whole.find(" 52");
  for (std::size_t size = 0; size < needed - 3; ++size)
    EXPECT_THROW(parse_stat(whole.substr(0, size)), Error) << size;
}

TEST(Stat, OwnProcess) {
  const Stat stat = ProcessDir(::getpid()).stat();
  EXPECT_EQ(stat.parent, ::getppid());
  EXPECT_EQ(stat.process_group, ::getpgrp());
  EXPECT_EQ(stat.session, ::getsid(0));
  EXPECT_LT(stat.arg_start, stat.arg_end);
}

// --- fdinfo
// ---------------------------------------------------------------------------------------

TEST(FdInfo, PositionFlagsAndLocks) {
  const FdInfo info = parse_fdinfo(
      "pos:\t1234567890123\nflags:\t02100002\nmnt_id:\t30\nino:\t99\n"
      "lock:\t1: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF\n");
  EXPECT_EQ(info.position_bytes, 1234567890123U);
  EXPECT_EQ(info.flags, 02100002U);
  ASSERT_EQ(info.locks.size(), 1U);
  EXPECT_EQ(info.locks[0], "1: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF");
}

TEST(FdInfo, MalformedTextIsRejected) {
  for (const char* text : {"", "pos:\t0\n", "pos:\tx\nflags:\t0\n", "pos:\t0\nflags:\t9\n",
                           "flags:\t\n", "flags:\t-1\n", "pos:\t0\nflags:\t77777777777777\n"}) {
    expect_error([&] { parse_fdinfo(text); }, ErrorKind::unsupported, "/proc/PID/fdinfo");
  }
}

// --- timers
// ---------------------------------------------------------------------------------------

TEST(Timers, AllThatIsThere) {
  const auto timers = parse_timers(
      "ID: 13\nsignal: 36/0000000000001234\nnotify: signal/tid.32407\nClockID: 1\n"
      "ID: 4\nsignal: 0/0000562a87922470\nnotify: none/pid.7\nClockID: -259262\n");
  ASSERT_EQ(timers.size(), 2U);
  EXPECT_EQ(timers[0].id, 13);
  EXPECT_EQ(timers[0].signal, 36);
  EXPECT_EQ(timers[0].value, 0x1234U);
  EXPECT_EQ(timers[0].notify, SIGEV_SIGNAL | SIGEV_THREAD_ID);
  EXPECT_EQ(timers[0].target, 32407);
  EXPECT_EQ(timers[0].clock, 1);
  EXPECT_EQ(timers[1].notify, SIGEV_NONE);
  EXPECT_EQ(timers[1].clock, -259262);
  EXPECT_TRUE(parse_timers("").empty());
}

TEST(Timers, MalformedTextIsRejected) {
  for (const char* text :
       {"x\n", "signal: 1/0\n", "ID: x\n", "ID: -1\n", "ID: 1\nsignal: 1\n", "ID: 1\nsignal: /0\n",
        "ID: 1\nnotify: signal\n", "ID: 1\nnotify: signal/pid\n", "ID: 1\nnotify: call/pid.3\n",
        "ID: 1\nnotify: signal/uid.3\n", "ID: 1\nClockID: one\n", "ID: 99999999999\n"}) {
    expect_error([&] { parse_timers(text); }, ErrorKind::unsupported, "/proc/PID/timers");
  }
}

// --- /proc/PID
// ------------------------------------------------------------------------------------

TEST(ProcessDir, OwnProcess) {
  const ProcessDir self(::getpid());
  EXPECT_EQ(self.threads().front(), ::getpid());
  EXPECT_FALSE(self.descriptors().empty());
  EXPECT_FALSE(self.strings("cmdline").empty());
  EXPECT_FALSE(self.comm(::getpid()).empty());
  EXPECT_EQ(self.comm(::getpid()).find('\n'), std::string::npos);
  EXPECT_TRUE(self.link("exe").has_value());
  EXPECT_FALSE(self.link("no-such-link").has_value());
}

TEST(ProcessDir, AProcessThatIsGoneIsNamed) {
  // Ids end far below this (PID_MAX_LIMIT is 2^22).
  const ProcessDir nobody(INT_MAX);
  const std::string name = "process " + std::to_string(INT_MAX);
  expect_error([&] { (void)nobody.status(); }, ErrorKind::process_gone, name);
  expect_error([&] { (void)nobody.threads(); }, ErrorKind::process_gone, name);
  expect_error([&] { (void)nobody.mappings(); }, ErrorKind::process_gone, name);
  expect_error([&] { (void)nobody.strings("environ"); }, ErrorKind::process_gone, name);
}

}  // namespace
}  // namespace ckpt::proc
