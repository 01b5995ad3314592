// Recordings: the table of system calls, instructions that are replaced, and the file.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <regex>

#include <gtest/gtest.h>

#include "arch/syscall_rules.hpp"
#include "arch/unpredictable.hpp"
#include "base/io.hpp"
#include "recording/effects.hpp"
#include "recording/encoding.hpp"
#include "recording/file.hpp"
#include "recording/memory_digest.hpp"
#include "recording/requests.hpp"
#include "support.hpp"

namespace ckpt::recording {
namespace {

using test::bytes_of;
using test::expect_error;

// -- the table --

std::map<int, std::string> kernels_calls() {
  std::map<int, std::string> calls;
  for (const char* path :
       {"/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"}) {
    std::ifstream header(path);
    const std::regex definition(R"(#define __NR_(\w+) (\d+))");
    for (std::string line; std::getline(header, line);)
      if (std::smatch match; std::regex_match(line, match, definition))
        calls[std::stoi(match[2])] = match[1];
  }
  return calls;
}

TEST(SyscallRules, EveryCallOfTheKernelsHeaderHasOne) {
  const auto calls = kernels_calls();
  ASSERT_GT(calls.size(), 300U);
  for (const auto& [number, name] : calls) {
    const auto* rule = arch::syscall_rule(static_cast<arch::Word>(number));
    ASSERT_NE(rule, nullptr) << number << " " << name;
    EXPECT_EQ(rule->name, name);
  }
}

TEST(SyscallRules, RefusedOnesSayWhy) {
  for (const auto& rule : arch::syscall_rules()) {
    EXPECT_FALSE(rule.name.empty());
    EXPECT_EQ(rule.handling == arch::Handling::refuse, !rule.reason.empty()) << rule.name;
    for (const auto& output : rule.outputs) EXPECT_LT(output.pointer, arch::kCallArguments);
  }
  EXPECT_EQ(arch::syscall_rule(SYS_io_uring_setup)->handling, arch::Handling::refuse);
  EXPECT_EQ(arch::syscall_rule(SYS_ptrace)->handling, arch::Handling::refuse);
  EXPECT_EQ(arch::syscall_rule(9999), nullptr);
}

TEST(Requests, KnownOnes) {
  EXPECT_EQ(ioctl_output(0x5401), 36U);  // TCGETS
  EXPECT_EQ(ioctl_output(0x5421), 0U);   // FIONBIO
  EXPECT_EQ(ioctl_output(0x1234), std::nullopt);
  EXPECT_TRUE(is_known_fcntl(F_GETLK));
  EXPECT_TRUE(is_known_fcntl(F_SETPIPE_SZ));
  EXPECT_FALSE(is_known_fcntl(999));
  EXPECT_TRUE(is_known_prctl(15));   // PR_SET_NAME
  EXPECT_FALSE(is_known_prctl(35));  // PR_SET_MM
  EXPECT_FALSE(is_known_arch_prctl(0x1023));
}

// -- effects, on our own memory --

arch::Registers call(int number, std::initializer_list<std::uint64_t> arguments) {
  arch::Registers registers{};
  registers.set_syscall_number(static_cast<arch::Word>(number));
  std::size_t n = 0;
  for (const auto argument : arguments) registers.set_arg(n++, argument);
  return registers;
}

std::uint64_t address(const void* object) { return reinterpret_cast<std::uint64_t>(object); }

std::vector<std::pair<std::uint64_t, std::size_t>> places(const std::vector<Write>& writes) {
  std::vector<std::pair<std::uint64_t, std::size_t>> all;
  for (const auto& write : writes) all.emplace_back(write.at.value, write.bytes.size());
  return all;
}

std::vector<std::pair<std::uint64_t, std::size_t>> effects_of(
    int number, std::initializer_list<std::uint64_t> arguments, std::int64_t result) {
  const tracee::Memory memory(::getpid());
  const auto registers = call(number, arguments);
  return places(
      effects(memory, *arch::syscall_rule(static_cast<arch::Word>(number)), registers, result));
}

using Places = std::vector<std::pair<std::uint64_t, std::size_t>>;

TEST(Effects, OfRead) {
  std::array<char, 64> buffer{};
  const auto at = address(buffer.data());
  EXPECT_EQ(effects_of(SYS_read, {3, at, buffer.size()}, 10), (Places{{at, 10}}));
  EXPECT_EQ(effects_of(SYS_read, {3, at, buffer.size()}, -EINTR), Places{});
}

TEST(Effects, OfVectorsOnlyAsMuchAsWasRead) {
  std::array<char, 64> buffer{};
  const std::array<iovec, 2> vectors = {iovec{buffer.data(), 8}, iovec{buffer.data() + 16, 32}};
  const auto at = address(buffer.data());
  EXPECT_EQ(effects_of(SYS_readv, {3, address(vectors.data()), 2}, 12),
            (Places{{at, 8}, {at + 16, 4}}));
}

TEST(Effects, OfMessages) {
  std::array<char, 64> buffer{};
  iovec vector{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  EXPECT_EQ(effects_of(SYS_recvmsg, {3, address(&message)}, 5),
            (Places{{address(&message), sizeof message}, {address(buffer.data()), 5}}));
}

TEST(Effects, OfCallsByRequest) {
  std::array<char, 64> buffer{};
  const auto at = address(buffer.data());
  EXPECT_EQ(effects_of(SYS_ioctl, {0, 0x5413, at}, 0), (Places{{at, 8}}));
  const auto unknown = call(SYS_ioctl, {0, 0xdeadbeef, at});
  const auto why = why_refused(*arch::syscall_rule(SYS_ioctl), unknown);
  ASSERT_TRUE(why);
  EXPECT_NE(why->find("0xdeadbeef"), std::string::npos);
}

TEST(Effects, MemoryThatIsNotThereIsLeftOut) {
  EXPECT_EQ(effects_of(SYS_getrlimit, {0, 8}, 0), Places{});
}

// -- instructions --

std::vector<arch::UnpredictableSite> found_in(std::string_view code) {
  return arch::find_unpredictable(bytes_of(code), Addr{0x1000}, {});
}

TEST(Unpredictable, EachKind) {
  using namespace std::string_view_literals;
  const std::vector<std::tuple<std::string_view, arch::Unpredictable, int>> cases = {
      {"\x0f\x31"sv, arch::Unpredictable::clock, 0},
      {"\x0f\x01\xf9"sv, arch::Unpredictable::clock_and_processor, 0},
      {"\x0f\xa2"sv, arch::Unpredictable::description, 0},
      {"\x48\x0f\xc7\xf0"sv, arch::Unpredictable::random, 8},
      {"\x0f\xc7\xf1"sv, arch::Unpredictable::random, 4},
      {"\x66\x0f\xc7\xf1"sv, arch::Unpredictable::random, 2},
      {"\x49\x0f\xc7\xf9"sv, arch::Unpredictable::seed, 8},
      {"\xf3\x0f\xc7\xf8"sv, arch::Unpredictable::processor, 8},
  };
  for (const auto& [code, kind, bytes] : cases) {
    const auto found = found_in(code);
    ASSERT_EQ(found.size(), 1U) << arch::unpredictable_name(kind);
    EXPECT_EQ(found.front().kind, kind);
    EXPECT_EQ(found.front().length, code.size());
    EXPECT_EQ(found.front().target_bytes, bytes) << arch::unpredictable_name(kind);
    EXPECT_EQ(found.front().original, bytes_of(code).front());
  }
}

TEST(Unpredictable, NotInTheMiddleOfAnother) {
  using namespace std::string_view_literals;
  EXPECT_TRUE(found_in("\xb8\x0f\x31\x0f\xa2"sv).empty());  // mov $0xa20f310f, %eax
}

TEST(Unpredictable, OnlyInFunctionsOfAFileThatTellsThem) {
  using namespace std::string_view_literals;
  const auto code = "\x90\x0f\x31\xc3\x0f\x31"sv;
  const auto found = arch::find_unpredictable(bytes_of(code), Addr{0x1000},
                                              [](Addr at) -> std::optional<arch::FunctionRange> {
                                                if (at < Addr{0x1004})
                                                  return arch::FunctionRange{0, 4};
                                                return std::nullopt;
                                              });
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found.front().at, Addr{0x1001});
}

TEST(Unpredictable, Executed) {
  using namespace std::string_view_literals;
  const auto site = found_in("\x0f\xc7\xf1"sv).front();
  arch::Registers registers{};
  registers.set_pc(site.at);
  arch::execute_unpredictable(site, registers);
  EXPECT_EQ(registers.pc(), site.at + 3);
  EXPECT_EQ(arch::get_register(registers, site.target) >> 32U, 0U);
}

TEST(RecordedRegisters, DifferencesThatCount) {
  arch::Registers a{};
  EXPECT_EQ(arch::first_difference(a, a, true), std::nullopt);
  auto b = a;
  b.set_arg(0, 7);
  ASSERT_TRUE(arch::first_difference(a, b, false));
  EXPECT_EQ(arch::register_names()[*arch::first_difference(a, b, false)],
            arch::register_names()[*arch::first_difference(b, a, false)]);
  auto other_call = a;
  other_call.set_syscall_number(1);
  EXPECT_TRUE(arch::first_difference(a, other_call, true));
  EXPECT_FALSE(arch::first_difference(a, other_call, false));
}

TEST(RecordedRegisters, RepeatingInstructions) {
  using namespace std::string_view_literals;
  EXPECT_TRUE(arch::is_repeating(bytes_of("\xf3\xa4"sv)));
  EXPECT_TRUE(arch::is_repeating(bytes_of("\xf3\x48\xab"sv)));
  EXPECT_FALSE(arch::is_repeating(bytes_of("\xf3\x0f\x10"sv)));
  EXPECT_FALSE(arch::is_repeating(bytes_of("\xa4"sv)));
  EXPECT_TRUE(arch::shows_stepping(bytes_of("\x9c"sv)));
}

// -- digests of memory --

TEST(MemoryDigest, FirstDifference) {
  const std::vector<WindowDigest> a = {{Addr{0x40000}, 1}, {Addr{0x80000}, 2}};
  EXPECT_EQ(first_difference(a, a), std::nullopt);
  EXPECT_EQ(first_difference(a, {{Addr{0x40000}, 1}}), Addr{0x80000});
  EXPECT_EQ(first_difference(a, {{Addr{0x40000}, 1}, {Addr{0x80000}, 3}}), Addr{0x80000});
  EXPECT_EQ(first_difference(a, {{Addr{0x80000}, 2}}), Addr{0x40000});
}

// -- the file --

Event event_with_everything() {
  Event event;
  event.kind = EventKind::leave;
  event.thread = 3;
  event.number = 9;
  event.result = -11;
  event.place = SignalPlace::fault;
  event.reason = EndReason::refused;
  event.at.set_arg(2, 77);
  event.after.emplace().set_arg(1, 78);
  event.xstate = {std::byte{1}, std::byte{2}};
  event.writes = {{Addr{0x1000}, {std::byte{9}}}, {Addr{0x2000}, {}}};
  event.new_thread = 4;
  event.file = MappedFile{"/lib/x", 5, -6};
  event.sites = {{Addr{0x77}, arch::Unpredictable::seed, 4, 10, 8, std::byte{0x48}}};
  event.cpu_ns = 12;
  event.stack_digest = 13;
  event.memory = {{Addr{0x40000}, 14}};
  event.text = "why";
  return event;
}

Start some_start() {
  Start start;
  start.program = "/bin/x";
  start.arguments = {"x", ""};
  start.environment = {"A=b"};
  start.mappings = {{Addr{1}, Addr{2}, "p"}};
  start.files = {{"/bin/x", 1, 2}};
  start.stack = {Addr{0x7000}, {std::byte{1}}};
  return start;
}

TEST(RecordingFile, EventsComeBackAsTheyWere) {
  const test::TempDir directory;
  const Event plain;
  {
    Writer writer(directory / "r", false);
    writer.begin(some_start());
    writer.append(event_with_everything());
    writer.append(plain);
    writer.flush();
  }
  Reader reader(directory / "r");
  EXPECT_EQ(reader.start().arguments, some_start().arguments);
  EXPECT_EQ(reader.start().mappings, some_start().mappings);
  EXPECT_EQ(reader.start().stack, some_start().stack);
  EXPECT_EQ(reader.next(), event_with_everything());
  EXPECT_EQ(reader.next(), plain);
  EXPECT_EQ(reader.next(), std::nullopt);
  EXPECT_FALSE(reader.cut_off());
  expect_error([&] { Writer(directory / "r", false); }, ErrorKind::exists, "r");
}

TEST(RecordingFile, WhatIsCutOffIsReadUpToThere) {
  const test::TempDir directory;
  {
    Writer writer(directory / "r", false);
    writer.begin(some_start());
    for (int i = 0; i < 2; ++i) {
      writer.append(event_with_everything());
      writer.flush();
    }
  }
  const std::string whole = read_file(directory / "r");
  ASSERT_EQ(::truncate((directory / "r").c_str(), static_cast<off_t>(whole.size() - 1)), 0);
  Reader reader(directory / "r");
  EXPECT_EQ(reader.next(), event_with_everything());
  EXPECT_EQ(reader.next(), std::nullopt);
  EXPECT_TRUE(reader.cut_off());
}

TEST(RecordingFile, DamageIsSeen) {
  const test::TempDir directory;
  {
    Writer writer(directory / "r", false);
    writer.begin(some_start());
  }
  std::string whole = read_file(directory / "r");
  whole.back() = static_cast<char>(whole.back() ^ 1);
  std::ofstream(directory / "damaged", std::ios::binary) << whole;
  expect_error([&] { Reader(directory / "damaged"); }, ErrorKind::damaged, "digest");
  std::ofstream(directory / "other", std::ios::binary) << "something else altogether";
  expect_error([&] { Reader(directory / "other"); }, ErrorKind::damaged, "no recording");
  whole[8] = 99;
  std::ofstream(directory / "newer", std::ios::binary) << whole;
  expect_error([&] { Reader(directory / "newer"); }, ErrorKind::unsupported, "version 99");
}

TEST(RecordingFile, EveryShorterEventIsDamaged) {
  std::vector<std::byte> bytes;
  encode(event_with_everything(), bytes);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    auto some = std::span<const std::byte>(bytes).first(size);
    expect_error([&] { decode_event(some); }, ErrorKind::damaged, "");
  }
  bytes.front() = std::byte{99};
  auto all = std::span<const std::byte>(bytes);
  expect_error([&] { decode_event(all); }, ErrorKind::damaged, "kind");
}

}  // namespace
}  // namespace ckpt::recording
