// The general registers of x86-64. See arch/arch.hpp.
#pragma once

#include <sys/user.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "arch/x86_64/constants.hpp"
#include "base/types.hpp"

namespace ckpt::arch {

/// The value of a register, as <sys/user.h> has it.
using Word = unsigned long long;

/// In `cs` of programs that run code of 64 bits.
inline constexpr Word kNativeCodeSegment = 0x33;

/// As ptrace and core files have them, without anything added: elf_gregset_t.
struct Registers : user_regs_struct {
  [[nodiscard]] Addr pc() const { return Addr{rip}; }
  void set_pc(Addr at) { rip = at.value; }
  [[nodiscard]] Addr sp() const { return Addr{rsp}; }
  void set_sp(Addr at) { rsp = at.value; }
  /// From which thread-local variables are found: the FS base.
  [[nodiscard]] Addr thread_pointer() const { return Addr{fs_base}; }
  void set_thread_pointer(Addr at) { fs_base = at.value; }

  /// Argument 0 to 5 of a system call.
  [[nodiscard]] Word arg(std::size_t n) const { return this->*argument(n); }
  void set_arg(std::size_t n, Word value) { this->*argument(n) = value; }

  /// What a system call has answered: -errno on failure; or the kernel's note of a restart.
  [[nodiscard]] std::int64_t syscall_result() const { return static_cast<std::int64_t>(rax); }
  void set_syscall_result(std::int64_t result) { rax = static_cast<Word>(result); }

  /// The number of the system call that has led here; meaningful if in_syscall().
  [[nodiscard]] Word syscall_number() const { return orig_rax; }
  void set_syscall_number(Word number) { orig_rax = number; }
  /// Whether the kernel would restart a system call when the result says so.
  [[nodiscard]] bool in_syscall() const { return static_cast<std::int64_t>(orig_rax) >= 0; }
  void leave_syscall() { orig_rax = ~0ULL; }

  /// The number of the system call that the instruction at pc() makes, if it is one that does.
  [[nodiscard]] Word next_syscall() const { return rax; }
  void set_next_syscall(Word number) { rax = number; }
  /// Makes the system call again that has led here, with what is in the registers.
  void repeat_syscall() {
    rip -= kSyscallBytes;
    rax = orig_rax;
  }

  /// No single steps, and strings from low to high addresses, as functions expect.
  void clear_stepping_and_direction() {
    constexpr Word kTrapAndDirection = 0x500;
    eflags &= ~kTrapAndDirection;
  }

  /// Whether it runs code of 64 bits.
  [[nodiscard]] bool is_native() const { return cs == kNativeCodeSegment; }

  /// Zeroes all but segments and flags; no system call is under way.
  void clear();

 private:
  static Word user_regs_struct::*argument(std::size_t n) {
    constexpr std::array<Word user_regs_struct::*, 6> kArguments = {
        &user_regs_struct::rdi, &user_regs_struct::rsi, &user_regs_struct::rdx,
        &user_regs_struct::r10, &user_regs_struct::r8,  &user_regs_struct::r9};
    return kArguments.at(n);
  }
};
static_assert(sizeof(Registers) == sizeof(user_regs_struct));

}  // namespace ckpt::arch
