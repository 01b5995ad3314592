// See arch/bare.hpp.
#pragma once

#include <sys/syscall.h>

#include <cstddef>

// The compiler calls these by itself, to clear an array or to copy a structure.
extern "C" {
__attribute__((used, visibility("hidden"))) inline void* memset(void* to, int value,
                                                                std::size_t size) noexcept {
  void* at = to;
  asm volatile("rep stosb" : "+D"(at), "+c"(size) : "a"(value) : "memory");
  return to;
}

__attribute__((used, visibility("hidden"))) inline void* memcpy(void* __restrict to,
                                                                const void* __restrict from,
                                                                std::size_t size) noexcept {
  void* at = to;
  asm volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(size) : : "memory");
  return to;
}

/// What a signal handler returns to. See below.
__attribute__((visibility("hidden"))) void return_from_handler() asm("__restore_rt");
}

// The unwinding information says that all registers stand in the ucontext that is on top of the
// stack here, so that debuggers see through our handler to what the signal interrupted.
// Unwinders look for what stands before a return address, hence the nop; those that go by the code
// or by the name find the C library's.
asm(R"(
.macro ckpt_saved_at register, offset
  .cfi_escape 0x10, \register, 3, 0x77, (\offset & 0x7f) | 0x80, \offset >> 7
.endm
  .text
  .balign 16
  .type __restore_rt, @function
  .hidden __restore_rt
  .cfi_startproc
  .cfi_signal_frame
  .cfi_escape 0x0f, 4, 0x77, 0xa0, 0x01, 0x06
  ckpt_saved_at 0, 144
  ckpt_saved_at 1, 136
  ckpt_saved_at 2, 152
  ckpt_saved_at 3, 128
  ckpt_saved_at 4, 112
  ckpt_saved_at 5, 104
  ckpt_saved_at 6, 120
  ckpt_saved_at 7, 160
  ckpt_saved_at 8, 40
  ckpt_saved_at 9, 48
  ckpt_saved_at 10, 56
  ckpt_saved_at 11, 64
  ckpt_saved_at 12, 72
  ckpt_saved_at 13, 80
  ckpt_saved_at 14, 88
  ckpt_saved_at 15, 96
  ckpt_saved_at 16, 168
  nop
  .globl __restore_rt
__restore_rt:
  movq $15, %rax
  syscall
  .cfi_endproc
  .size __restore_rt, . - __restore_rt
)");

namespace ckpt::arch {

using ::return_from_handler;

/// The kernel's answer: negative values are errors.
inline long call(long number, long a = 0, long b = 0, long c = 0, long d = 0) {
  long result = 0;
  register long fourth asm("r10") = d;
  register long fifth asm("r8") = 0;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth)
               : "rcx", "r11", "memory");
  return result;
}

template <typename T>
long word(T* pointer) {
  return reinterpret_cast<long>(pointer);
}

/// Runs `function(argument)` in a new process or thread, on the stack that ends at `stack_end`
/// (aligned to 16 bytes); it ends with what the function returns. `cleared` is the word for
/// CLONE_CHILD_CLEARTID. Returns the id, or a negative error.
inline long clone_running(int (*function)(void*), void* argument, void* stack_end, long flags,
                          int* cleared = nullptr) {
  long result = 0;
  register long tid_word asm("r10") = word(cleared);
  register long no_tls asm("r8") = 0;
  register int (*to_run)(void*) asm("r12") = function;
  register void* its_argument asm("r13") = argument;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %%r13, %%rdi\n\t"
      "call *%%r12\n\t"
      "mov %%eax, %%edi\n\t"
      "mov %[exit], %%eax\n\t"
      "syscall\n"
      "1:"
      : "=a"(result)
      : "a"(SYS_clone), "D"(flags), "S"(stack_end), "d"(0), "r"(tid_word), "r"(no_tls), "r"(to_run),
        "r"(its_argument), [exit] "i"(SYS_exit)
      : "rcx", "r11", "memory");
  return result;
}

}  // namespace ckpt::arch
