// Calls with ids that are under way: which instructions are replaced, and by what.
#include <dlfcn.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): kill
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "ids/boundary.hpp"
#include "ids/flights.hpp"
#include "proc/process_dir.hpp"

namespace ckpt::ids {
namespace {

using namespace std::string_literals;

std::vector<std::byte> bytes(const std::string& text) {
  const auto span = std::as_bytes(std::span(text));
  return {span.begin(), span.end()};
}

TEST(IsAsDeep, ExcludesWhatRunsAboveAHandler) {
  EXPECT_TRUE(arch::is_as_deep(0x7fff1000, 0x7fff1000));
  EXPECT_TRUE(arch::is_as_deep(0x7fff1000, 0x7fff1000 - 200));
  EXPECT_TRUE(arch::is_as_deep(0x7fff1000, 0x7fff1000 + 200));
  EXPECT_FALSE(arch::is_as_deep(0x7fff1000, 0x7fff1000 - 1200));  // a signal's frame has more
  EXPECT_FALSE(arch::is_as_deep(0x7fff1000, 0));
  EXPECT_FALSE(arch::is_as_deep(0, ~0ULL));
}

TEST(MakeStub, MakesTheCallAndGoesOnBehindIt) {
  const Addr from{0x100000};
  const Addr to{0x200000};
  const PlannedStub planned{from, true, bytes("\x0f\x05\x48\x3d\1\xf0\xff\xff\x73\1\xc3"s), 5};
  const auto stub = make_stub(planned, to, Addr{0x201000});
  ASSERT_TRUE(stub.has_value());
  std::int32_t distance = 0;
  std::memcpy(&distance, stub->bytes.data() + 8, sizeof distance);
  EXPECT_EQ(to + arch::kStubCallAt + static_cast<std::uint64_t>(distance), Addr{0x201000});
  EXPECT_EQ(stub->bytes[arch::kStubCallAt], std::byte{0x0f});
  EXPECT_EQ(stub->bytes[arch::kStubCallAt + 1], std::byte{0x05});
  ASSERT_EQ(stub->moved.size(), 2U);
  EXPECT_EQ(stub->moved[0].at, to.value);
  EXPECT_EQ(stub->moved[0].original, from.value);
  EXPECT_EQ(stub->moved[1].at, to.value + arch::kStubCallAt + arch::kSyscallBytes);
  EXPECT_EQ(stub->moved[1].original, from.value + arch::kSyscallBytes);
  EXPECT_EQ(stub->bytes.size(), arch::kStubCallAt + 2 + 6 + 5);
}

TEST(MakeStub, RefusesWhatCannotBeMoved) {
  const Addr from{0x100000};
  const auto made = [&](const std::string& code, bool is_call) {
    return make_stub({from, is_call, bytes(code), 5}, from, from).has_value();
  };
  EXPECT_TRUE(made("\x0f\x05\xc3\x0f\x1f\x80\0\0\0\0"s, true));
  EXPECT_FALSE(made("\x0f\x05\xc3\xb8\1\0\0\0"s, true));        // another function
  EXPECT_FALSE(made("\x0f\x05\xe8\0\0\0\0"s, true));            // a call
  EXPECT_FALSE(made("\x0f\x0b\x48\x3d\1\xf0\xff\xff"s, true));  // no system call
  EXPECT_FALSE(made("\x0f"s, true));
  EXPECT_FALSE(made(""s, true));
  EXPECT_TRUE(made("\x85\xff\x78\x0c\xf7\xdf"s, false));  // killpg()
}

TEST(Places, LeadThereAndBack) {
  arch::BoundaryPatch patch{};
  patch.address = 0x1000;
  const std::array<arch::BoundaryPatch, 1> patches = {patch};
  const std::array<arch::MovedCode, 3> moved = {
      {{0x9000, 0x1000}, {0x900e, 0x1002}, {0x9014, 0x1008}}};
  EXPECT_EQ(place_beside(Addr{0x1000}, patches, moved), Addr{0x1000});  // leads to the stub
  EXPECT_EQ(place_beside(Addr{0x1002}, patches, moved), Addr{0x900e});
  EXPECT_EQ(place_beside(Addr{0x1003}, patches, moved), Addr{0x1003});
  EXPECT_EQ(place_beside(Addr{0x1008}, patches, moved), Addr{0x1008});  // is as it was
  EXPECT_EQ(place_beside(Addr{0x1002}, patches, moved, true), Addr{0x900e});
  // It leads on to a result: only there is a `syscall` before.
  const std::array<arch::MovedCode, 3> leads_on = {
      {{0x9000, 0x1000}, {0x9013, 0x1002}, {0x900e, 0x1002}}};
  EXPECT_EQ(place_beside(Addr{0x1002}, patches, leads_on), Addr{0x9013});
  EXPECT_EQ(place_beside(Addr{0x1002}, patches, leads_on, true), Addr{0x900e});
  EXPECT_EQ(original_place(Addr{0x900e}, moved), Addr{0x1002});
  EXPECT_FALSE(original_place(Addr{0x9001}, moved).has_value());
}

class Plan : public testing::Test {
 protected:
  Plan() : memory_(::getpid()), library_(find()), frames_(library_) {}

  // A thread `offset` bytes behind the begin of a function that was called from `caller`.
  FlightPlan plan(const char* function, std::uint64_t offset, const void* caller) {
    stack_.fill(0);
    stack_[0] = reinterpret_cast<std::uint64_t>(caller);
    Stopped one;
    one.tid = 4711;
    one.registers.rip = address(function) + offset;
    one.registers.rsp = reinterpret_cast<std::uint64_t>(stack_.data());
    one.thread = 0x7777;
    return plan_flights(memory_, library_, frames_, std::span(&one, 1));
  }
  static std::uint64_t address(const char* function) {
    return reinterpret_cast<std::uint64_t>(::dlsym(RTLD_DEFAULT, function));
  }
  // Where the function has its first `syscall`, which its code leads to without a branch.
  static std::uint64_t call_in(const char* function) {
    const auto* code = reinterpret_cast<const unsigned char*>(::dlsym(RTLD_DEFAULT, function));
    std::uint64_t at = 0;
    while (at < 64 && (code[at] != 0x0f || code[at + 1] != 0x05)) ++at;
    return at;
  }
  bool may_look() const {
    return library_.found() && address("getpid") != 0 && call_in("getpid") < 16;
  }

 private:
  static libc::Library find() {
    std::vector<libc::MappedObject> objects;
    for (const auto& map : proc::ProcessDir(::getpid()).mappings()) {
      if (!libc::is_library_name(map.path)) continue;
      if (map.offset_bytes == 0) objects.push_back({map.path, map.path, map.start, {}, false});
      if (map.exec && !objects.empty()) objects.back().code.push_back({map.start, map.end});
    }
    return find_library(objects);
  }

  std::array<std::uint64_t, 64> stack_{};
  tracee::Memory memory_;
  libc::Library library_;
  Frames frames_;
};

TEST_F(Plan, FindsTheCallThatIsToCome) {
  if (!may_look()) GTEST_SKIP() << "a C library of another shape";
  const std::uint64_t at = call_in("getpid");
  for (const std::uint64_t offset : {std::uint64_t{0}, at}) {
    const auto found = plan("getpid", offset, this);
    EXPECT_TRUE(found.notes.empty());
    ASSERT_EQ(found.flights.size(), 1U) << offset;
    ASSERT_EQ(found.stubs.size(), 1U);
    EXPECT_EQ(found.stubs[0].from.value, address("getpid") + at);
    EXPECT_EQ(found.flights[0].thread, 0x7777U);
  }
}

TEST_F(Plan, LeavesWhatIsOver) {
  if (!may_look()) GTEST_SKIP() << "a C library of another shape";
  const auto found = plan("getpid", call_in("getpid") + 2, this);
  EXPECT_TRUE(found.flights.empty());
  EXPECT_TRUE(found.stubs.empty());
  EXPECT_TRUE(plan("strlen", 0, this).stubs.empty());
}

TEST_F(Plan, LeavesTheLibrarysOwnCalls) {
  if (!may_look()) GTEST_SKIP() << "a C library of another shape";
  const auto* within = reinterpret_cast<const void*>(address("raise") + 4);
  EXPECT_TRUE(plan("getpid", 0, within).flights.empty());
  EXPECT_EQ(plan("syscall", 0, within).flights.size(), 1U);  // translates whoever calls
}

}  // namespace
}  // namespace ckpt::ids
