#include "arch/loop.hpp"

// Why the run ends with a signal that the thread sends to itself, and not with int3: the kernel
// answers a breakpoint with a forced SIGTRAP, which resets the program's SIGTRAP handler when it
// is blocked or ignored. A signal's delivery stop is the place from which the kernel makes pending
// restarts of system calls when the thread goes on.
//
// ckpt_loop_run: rbx = table, r12 = rows, r13 = thread group id, r14 = thread id, r15 = 1 to end at
// the first row that fails, rbp = the signal. ckpt_loop_tiles: rbx = a tile configuration of 64
// bytes; r13, r14, rbp as before. Behind ckpt_loop_end rsp leads to the frame (way_back.cpp).
asm(R"(
    .pushsection .rodata
    .balign 16
    .globl ckpt_loop_begin, ckpt_loop_run, ckpt_loop_tiles, ckpt_loop_end, ckpt_loop_park
    .globl ckpt_loop_limit, ckpt_loop_syscall, ckpt_loop_once, ckpt_loop_back_limit
    .hidden ckpt_loop_begin, ckpt_loop_run, ckpt_loop_tiles, ckpt_loop_end, ckpt_loop_park
    .hidden ckpt_loop_limit, ckpt_loop_syscall, ckpt_loop_once, ckpt_loop_back_limit
ckpt_loop_begin:
ckpt_loop_run:
    test    %r12, %r12
    jz      2f
1:  mov     (%rbx), %rax
    mov     8(%rbx), %rdi
    mov     16(%rbx), %rsi
    mov     24(%rbx), %rdx
    mov     32(%rbx), %r10
    mov     40(%rbx), %r8
    mov     48(%rbx), %r9
ckpt_loop_syscall:
    syscall
    mov     %rax, 56(%rbx)
    test    %r15, %r15
    jz      3f
    cmp     $-4095, %rax
    jae     2f
3:  add     $64, %rbx
    dec     %r12
    jnz     1b
2:  mov     $234, %eax
    mov     %r13, %rdi
    mov     %r14, %rsi
    mov     %ebp, %edx
ckpt_loop_once:
    syscall
ckpt_loop_end:
    mov     -32(%rsp), %rdx
    test    %edx, %edx
    jz      4f
    mov     $297, %eax
    mov     -48(%rsp), %rdi
    mov     -40(%rsp), %rsi
    lea     -176(%rsp), %r10
    syscall
4:  mov     $127, %eax
    lea     -16(%rsp), %rdi
    mov     $8, %esi
    syscall
    mov     -16(%rsp), %rax
    and     -8(%rsp), %rax
    jz      5f
    mov     -24(%rsp), %rax
    mov     %rax, 168(%rsp)
    movq    $-4, 144(%rsp)
5:  mov     $15, %eax
    syscall
ckpt_loop_back_limit:
ckpt_loop_tiles:
    ldtilecfg (%rbx)
    tilezero  %tmm0
    tilerelease
    jmp     2b
ckpt_loop_park:
    mov     $34, %eax
    syscall
    jmp     ckpt_loop_park
ckpt_loop_limit:
    .popsection
)");

extern "C" {
// NOLINTBEGIN(modernize-avoid-c-arrays): labels of the assembly above
extern const std::byte ckpt_loop_begin[];
extern const std::byte ckpt_loop_run[];
extern const std::byte ckpt_loop_tiles[];
extern const std::byte ckpt_loop_end[];
extern const std::byte ckpt_loop_park[];
extern const std::byte ckpt_loop_limit[];
extern const std::byte ckpt_loop_syscall[];
extern const std::byte ckpt_loop_once[];
extern const std::byte ckpt_loop_back_limit[];
// NOLINTEND(modernize-avoid-c-arrays)
}

namespace ckpt::arch {

void enter_loop(Registers& registers, Addr entry, const LoopRun& run) {
  registers.set_pc(entry);
  registers.set_syscall_result(0);
  registers.leave_syscall();
  registers.rbx = run.table.value;
  registers.r12 = run.rows;
  registers.r13 = static_cast<Word>(run.group);
  registers.r14 = static_cast<Word>(run.thread);
  registers.r15 = run.stop_at_failure ? 1 : 0;
  registers.rbp = static_cast<Word>(run.signal);
  registers.clear_stepping_and_direction();
}

std::array<std::byte, 64> tile_configuration() {
  // Palette 1, tile 0 of one row of four bytes.
  std::array<std::byte, 64> configuration{};
  configuration[0] = std::byte{1};
  configuration[16] = std::byte{4};
  configuration[48] = std::byte{1};
  return configuration;
}

std::span<const std::byte> loop_code() noexcept {
  return {ckpt_loop_begin, static_cast<std::size_t>(ckpt_loop_limit - ckpt_loop_begin)};
}

std::span<const std::byte> back_code() noexcept {
  return {ckpt_loop_once, static_cast<std::size_t>(ckpt_loop_back_limit - ckpt_loop_once)};
}

std::size_t loop_once_offset() noexcept {
  return static_cast<std::size_t>(ckpt_loop_once - ckpt_loop_begin);
}
std::size_t loop_run_offset() noexcept {
  return static_cast<std::size_t>(ckpt_loop_run - ckpt_loop_begin);
}
std::size_t loop_tiles_offset() {
  return static_cast<std::size_t>(ckpt_loop_tiles - ckpt_loop_begin);
}
std::size_t loop_end_offset() noexcept {
  return static_cast<std::size_t>(ckpt_loop_end - ckpt_loop_begin);
}
std::size_t loop_syscall_offset() noexcept {
  return static_cast<std::size_t>(ckpt_loop_syscall - ckpt_loop_begin);
}
std::size_t loop_park_offset() noexcept {
  return static_cast<std::size_t>(ckpt_loop_park - ckpt_loop_begin);
}

}  // namespace ckpt::arch
