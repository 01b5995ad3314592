// The general registers of 64-bit ARM. See arch/arch.hpp.
#pragma once

#include <sys/user.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "arch/aarch64/constants.hpp"
#include "base/types.hpp"

namespace ckpt::arch {

/// The value of a register, as <sys/user.h> has it.
using Word = unsigned long long;

/// As ptrace and core files have them (elf_gregset_t), and then what the kernel has elsewhere.
struct Registers : user_regs_struct {
  Word call = ~0ULL;   // NT_ARM_SYSTEM_CALL
  Word argument0 = 0;  // orig_x0, which no request of ptrace tells
  Word thread_id = 0;  // TPIDR_EL0: NT_ARM_TLS

  [[nodiscard]] Addr pc() const { return Addr{user_regs_struct::pc}; }
  void set_pc(Addr at) { user_regs_struct::pc = at.value; }
  [[nodiscard]] Addr sp() const { return Addr{user_regs_struct::sp}; }
  void set_sp(Addr at) { user_regs_struct::sp = at.value; }
  [[nodiscard]] Addr thread_pointer() const { return Addr{thread_id}; }
  void set_thread_pointer(Addr at) { thread_id = at.value; }

  [[nodiscard]] Word arg(std::size_t n) const {
    return n == 0 && in_syscall() ? argument0 : regs[n];
  }
  void set_arg(std::size_t n, Word value) {
    if (n == 0) argument0 = value;
    regs[n] = value;
  }

  [[nodiscard]] std::int64_t syscall_result() const { return static_cast<std::int64_t>(regs[0]); }
  void set_syscall_result(std::int64_t result) { regs[0] = static_cast<Word>(result); }

  [[nodiscard]] Word syscall_number() const { return call; }
  void set_syscall_number(Word number) { call = number; }
  [[nodiscard]] bool in_syscall() const { return static_cast<std::int64_t>(call) >= 0; }
  void leave_syscall() { call = ~0ULL; }

  [[nodiscard]] Word next_syscall() const { return regs[kNumberRegister]; }
  void set_next_syscall(Word number) { regs[kNumberRegister] = number; }
  void repeat_syscall() {
    user_regs_struct::pc -= kSyscallBytes;
    regs[0] = argument0;
    regs[kNumberRegister] = call;
  }

  void clear_stepping_and_direction() {
    constexpr Word kSingleStep = 1ULL << 21U;
    pstate &= ~kSingleStep;
  }

  [[nodiscard]] bool is_native() const {
    constexpr Word kMode32 = 1ULL << 4U;
    return (pstate & kMode32) == 0;
  }

  void clear() { *this = Registers{}; }

 private:
  static constexpr std::size_t kNumberRegister = 8;
};
static_assert(std::is_trivially_copyable_v<Registers>);

}  // namespace ckpt::arch
