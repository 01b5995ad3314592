// Which call the kernel is asked to go on with (restart_syscall), when registers no longer tell.
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <gtest/gtest.h>

#include "arch/arch.hpp"
#include "state/process/threads.hpp"
#include "tracee/memory.hpp"

namespace ckpt::state {
namespace {

// glibc 2.41 calls a function of its own, with the number as the seventh argument.
class OnTheStack : public testing::Test {
 protected:
  std::optional<std::uint64_t> found(std::byte before_return) {
    std::array<std::byte, 64> code{};
    code.fill(std::byte{0x90});
    code.at(32) = before_return;  // of five bytes
    const std::uint64_t behind = reinterpret_cast<std::uint64_t>(code.data()) + 37;
    const std::array<std::uint64_t, 5> stack = {0, SYS_nanosleep, behind, SYS_clock_nanosleep, 0};
    ThreadState state;
    state.registers.set_syscall_number(SYS_restart_syscall);
    state.registers.set_pc(Addr{reinterpret_cast<std::uint64_t>(code.data() + code.size())});
    state.registers.set_sp(Addr{reinterpret_cast<std::uint64_t>(stack.data())});
    // What tells nothing: a relative time is no address.
    state.registers.set_arg(0, 0x123457);
    state.registers.set_arg(1, 1);
    if (!find_restarted_call(tracee::Memory(::getpid()), state)) return std::nullopt;
    return state.registers.syscall_number();
  }
};

TEST_F(OnTheStack, BehindTheReturnAddressOfACall) {
  EXPECT_EQ(found(std::byte{0xe8}), SYS_clock_nanosleep);
}

TEST_F(OnTheStack, NotBehindOtherAddresses) { EXPECT_EQ(found(std::byte{0x90}), std::nullopt); }

}  // namespace
}  // namespace ckpt::state
