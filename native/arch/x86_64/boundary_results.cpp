// What the stubs behind system calls (ids/result_sites.hpp) call: the result is in rax, and all
// registers but rcx and r11, which the kernel has changed, are in use, flags included. A child
// that was just made comes by as well, with 0 and perhaps its parent's stack: it touches nothing.
// Copied into the program with the rest.
#include <cstddef>

#include "arch/boundary_layout.hpp"
#include "arch/x86_64/boundary_flags.hpp"

// NOLINTBEGIN: assembly
asm(CKPT_FLAGS_MACROS R"(
    .pushsection ckpt_ids, "ax", @progbits
    .macro result_entry name
    .balign 16
    .globl  \name
    .hidden \name
    .type   \name, @function
\name:
    keep_flags
    .endm

    result_entry ckpt_ids_result_new
1:  test    %rax, %rax
    jle     2f
    keep_registers
    mov     %eax, %edi
    call    ckpt_ids_shown
    bring_registers
2:  bring_flags
    ret

    result_entry ckpt_ids_result_wait4
3:  test    %rax, %rax
    jle     4f
    keep_registers
    mov     %eax, %edi
    call    ckpt_ids_shown_wait4
    bring_registers
4:  bring_flags
    ret

    result_entry ckpt_ids_result_waitid
5:  test    %rax, %rax
    jnz     6f
    test    %rdx, %rdx               # the siginfo_t
    jz      6f
    push    %rax
    keep_registers
    mov     %rdx, %rdi
    mov     %r10d, %esi              # the options
    call    ckpt_ids_shown_waitid
    bring_registers
    pop     %rax
6:  bring_flags
    ret

    # syscall(): its entry (boundary_entries.cpp) has left which call it was in the upper half of an
    # argument, of which the kernel uses the lower one.
    result_entry ckpt_ids_result_syscall
    mov     %rdi, %r11
    shr     $32, %r11
    cmp     $0x636b7001, %r11d
    je      1b
    cmp     $0x636b7002, %r11d
    je      3b
    cmp     $0x636b7003, %r11d
    je      5b
    cmp     $0x636b7004, %r11d
    je      7f
    cmp     $0x636b7005, %r11d
    je      8f
    mov     %rdx, %r11               # of clone3(), which takes two
    shr     $32, %r11
    cmp     $0x636b7001, %r11d
    je      1b
    bring_flags
    ret
7:  bring_flags
    jmp     ckpt_ids_result_recvmsg
8:  bring_flags
    jmp     ckpt_ids_result_recvmmsg
    .popsection
)");
// NOLINTEND
