// Flags kept by code that is copied into the program (boundary_code.cpp) behind a system call,
// where rcx and r11 are free. Not by pushf and popf: a thread that is being stepped over them, by a
// debugger or by a save, would keep the trap flag.
#pragma once

// For assembly. keep_flags and bring_flags: one word on the stack; rax stays. keep_registers and
// bring_registers: those that a function may change and a system call does not; six words.
// clang-format off
#define CKPT_FLAGS_MACROS         \
  ".macro keep_flags\n"           \
  "    mov     %rax, %r11\n"      \
  "    lahf\n"                    \
  "    seto    %al\n"             \
  "    mov     %rax, %rcx\n"      \
  "    mov     %r11, %rax\n"      \
  "    push    %rcx\n"            \
  ".endm\n"                       \
  ".macro bring_flags\n"          \
  "    pop     %rcx\n"            \
  "    mov     %rax, %r11\n"      \
  "    mov     %rcx, %rax\n"      \
  "    add     $0x7f, %al\n"      \
  "    sahf\n"                    \
  "    mov     %r11, %rax\n"      \
  ".endm\n"                       \
  ".macro keep_registers\n"       \
  "    push    %rdi\n"            \
  "    push    %rsi\n"            \
  "    push    %rdx\n"            \
  "    push    %r8\n"             \
  "    push    %r9\n"             \
  "    push    %r10\n"            \
  ".endm\n"                       \
  ".macro bring_registers\n"      \
  "    pop     %r10\n"            \
  "    pop     %r9\n"             \
  "    pop     %r8\n"             \
  "    pop     %rdx\n"            \
  "    pop     %rsi\n"            \
  "    pop     %rdi\n"            \
  ".endm\n"
// clang-format on
