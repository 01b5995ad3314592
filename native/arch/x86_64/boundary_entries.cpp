// Entry points of the translation (boundary_code.cpp) for functions that may block, or that take
// ids only now and then: which of these it is, is decided without touching the stack or the
// arguments, and what does not concern ids goes on in the C library's own code. Copied into the
// program with the rest.
#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/syscall.h>

#include <cstddef>

#include "arch/boundary_layout.hpp"

using ckpt::arch::BoundaryHeader;

// NOLINTBEGIN: assembly
// Offsets of BoundaryHeader::originals, for the assembly.
static_assert(offsetof(BoundaryHeader, originals) == 16);
static_assert(offsetof(BoundaryHeader, calls) == 168);

asm(R"(
    .pushsection ckpt_ids, "ax", @progbits
    .macro go_on original
    lea     0(%rip), %r11
    and     $-0x10000, %r11
    jmp     *16+8*\original(%r11)
    .endm
    .macro entry name
    .balign 16
    .globl  \name
    .hidden \name
    .type   \name, @function
\name:
    .endm

    entry ckpt_ids_syscall
    cmp     $511, %rdi
    ja      1f
    lea     0(%rip), %r11
    and     $-0x10000, %r11
    bt      %rdi, 168(%r11)
    jc      ckpt_ids_syscall_with_id
1:  go_on 0
ckpt_ids_syscall_with_id:
    cmp     $72, %rdi                # fcntl: only some of its commands
    je      3f
    cmp     $16, %rdi                # ioctl
    je      4f
    cmp     $61, %rdi                # wait4
    je      5f
    cmp     $247, %rdi               # waitid
    je      6f
    mov     $0x636b7001, %r11d       # marks for what stands behind the call (boundary_results.cpp)
    shl     $32, %r11
    cmp     $57, %rdi                # fork
    je      10f
    cmp     $56, %rdi                # clone
    je      10f
    cmp     $435, %rdi               # clone3
    je      11f
    cmp     $46, %rdi                # sendmsg
    je      12f
    cmp     $307, %rdi               # sendmmsg
    je      13f
    mov     $0x636b7004, %r11d
    shl     $32, %r11
    cmp     $47, %rdi                # recvmsg
    je      10f
    mov     $0x636b7005, %r11d
    shl     $32, %r11
    cmp     $299, %rdi               # recvmmsg
    je      10f
    lea     -227(%rdi), %eax         # clock_settime, _gettime, _getres, _nanosleep
    cmp     $3, %eax
    jbe     9f
2:  jmp     ckpt_ids_translated_syscall
10: mov     %esi, %esi
    or      %r11, %rsi
    jmp     1b
11: mov     %r11, %rcx
    jmp     1b
12: push    %rdi
    push    %rsi
    push    %rdx
    push    %rcx
    mov     %rdx, %rdi
    call    ckpt_ids_names_sender
    pop     %rcx
    pop     %rdx
    pop     %rsi
    pop     %rdi
    test    %al, %al
    jz      1b
    mov     %esi, %edi
    mov     %rdx, %rsi
    mov     %rcx, %rdx
    jmp     ckpt_ids_translated_sendmsg
13: push    %rdi
    push    %rsi
    push    %rdx
    push    %rcx
    push    %r8
    xor     %edi, %edi               # by no code within the library
    mov     %rdx, %rsi
    mov     %ecx, %edx
    call    ckpt_ids_sendmmsg_names
    pop     %r8
    pop     %rcx
    pop     %rdx
    pop     %rsi
    pop     %rdi
    test    %al, %al
    jz      1b
    mov     %esi, %edi
    mov     %rdx, %rsi
    mov     %ecx, %edx
    mov     %r8, %rcx
    jmp     ckpt_ids_translated_sendmmsg
3:  mov     %edx, %eax
    jmp     7f
4:  mov     %edx, %eax
    jmp     8f
5:  push    %rdi
    push    %rsi
    push    %rdx
    push    %rcx
    push    %r8
    mov     %rsi, %rdi
    mov     %rdx, %rsi
    mov     %rcx, %rdx
    mov     %r8, %rcx
    lea     24(%rsp), %r8            # where the target is kept
    call    ckpt_ids_first_wait4
    pop     %r8
    pop     %rcx
    pop     %rdx
    pop     %rsi
    pop     %rdi
    mov     $0x636b7002, %r11d
    shl     $32, %r11
    test    %rax, %rax
    jz      10b
    ret
6:  push    %rdi
    push    %rsi
    push    %rdx
    push    %rcx
    push    %r8
    push    %r9
    sub     $8, %rsp
    mov     %rsi, %rdi
    mov     %rdx, %rsi
    mov     %rcx, %rdx
    mov     %r8, %rcx
    mov     %r9, %r8
    lea     32(%rsp), %r9
    call    ckpt_ids_first_waitid
    add     $8, %rsp
    pop     %r9
    pop     %r8
    pop     %rcx
    pop     %rdx
    pop     %rsi
    pop     %rdi
    mov     $0x636b7003, %r11d
    shl     $32, %r11
    test    %rax, %rax
    jz      10b
    xor     %eax, %eax
    ret
7:  cmp     $8, %eax                 # F_SETOWN, F_GETOWN, F_SETOWN_EX, F_GETOWN_EX, F_GETLK
    je      2b
    cmp     $9, %eax
    je      2b
    cmp     $15, %eax
    je      2b
    cmp     $16, %eax
    je      2b
    cmp     $5, %eax
    je      2b
    cmp     $36, %eax                # F_OFD_GETLK
    je      2b
    jmp     1b
8:  cmp     $0x540f, %eax            # TIOCGPGRP, TIOCSPGRP, TIOCGSID
    je      2b
    cmp     $0x5410, %eax
    je      2b
    cmp     $0x5429, %eax
    je      2b
    lea     -0x8901(%rax), %r11d     # FIOSETOWN, SIOCSPGRP, FIOGETOWN, SIOCGPGRP
    cmp     $3, %r11d
    jbe     2b
    jmp     1b
9:  test    %esi, %esi               # most clocks are not a process's
    jns     1b
    cmp     $3, %eax
    jne     2b
    push    %rdi
    push    %rdx
    push    %rcx
    push    %r8
    push    %r9
    mov     %esi, %edi
    call    ckpt_ids_real_clock
    movslq  %eax, %rsi
    pop     %r9
    pop     %r8
    pop     %rcx
    pop     %rdx
    pop     %rdi
    jmp     1b

    entry ckpt_ids_fcntl
    cmp     $8, %esi
    je      1f
    cmp     $9, %esi
    je      1f
    cmp     $15, %esi
    je      1f
    cmp     $16, %esi
    je      1f
    cmp     $5, %esi
    je      1f
    cmp     $36, %esi
    je      1f
    go_on 2
1:  jmp     ckpt_ids_translated_fcntl

    entry ckpt_ids_ioctl
    cmp     $0x540f, %esi
    je      1f
    cmp     $0x5410, %esi
    je      1f
    cmp     $0x5429, %esi
    je      1f
    lea     -0x8901(%rsi), %r11d
    cmp     $3, %r11d
    jbe     1f
    go_on 1
1:  jmp     ckpt_ids_translated_ioctl

    entry ckpt_ids_wait4
    push    %rdi
    push    %rsi
    push    %rdx
    push    %rcx
    sub     $8, %rsp
    lea     32(%rsp), %r8
    call    ckpt_ids_first_wait4
    add     $8, %rsp
    pop     %rcx
    pop     %rdx
    pop     %rsi
    pop     %rdi
    test    %rax, %rax
    jnz     1f
    go_on 3
1:  ret

    entry ckpt_ids_waitid
    push    %rdi
    push    %rsi
    push    %rdx
    push    %rcx
    sub     $8, %rsp
    xor     %r8d, %r8d
    lea     24(%rsp), %r9
    call    ckpt_ids_first_waitid
    add     $8, %rsp
    pop     %rcx
    pop     %rdx
    pop     %rsi
    pop     %rdi
    test    %rax, %rax
    jnz     1f
    go_on 4
1:  xor     %eax, %eax
    ret

    entry ckpt_ids_clock_gettime
    test    %edi, %edi
    js      1f
    go_on 5
1:  jmp     ckpt_ids_translated_clock_gettime

    entry ckpt_ids_clock_getres
    test    %edi, %edi
    js      1f
    go_on 6
1:  jmp     ckpt_ids_translated_clock_getres

    entry ckpt_ids_clock_nanosleep
    test    %edi, %edi
    jns     1f
    push    %rsi
    push    %rdx
    push    %rcx
    call    ckpt_ids_real_clock
    mov     %eax, %edi
    pop     %rcx
    pop     %rdx
    pop     %rsi
1:  go_on 7
    .popsection
)");

static_assert(ckpt::arch::kSyscall == 0 && ckpt::arch::kIoctl == 1 && ckpt::arch::kFcntl == 2 &&
              ckpt::arch::kWait4 == 3 && ckpt::arch::kWaitid == 4 &&
              ckpt::arch::kClockGettime == 5 && ckpt::arch::kClockGetres == 6 &&
              ckpt::arch::kClockNanosleep == 7);
static_assert(SYS_clock_settime == 227 && SYS_clock_gettime == 228 && SYS_clock_getres == 229 &&
              SYS_clock_nanosleep == 230);
static_assert(SYS_fcntl == 72 && SYS_ioctl == 16 && SYS_wait4 == 61 && SYS_waitid == 247 &&
              SYS_fork == 57 && SYS_clone == 56 && SYS_clone3 == 435 && SYS_sendmsg == 46 &&
              SYS_sendmmsg == 307 && SYS_recvmsg == 47 && SYS_recvmmsg == 299);
static_assert(F_SETOWN == 8 && F_GETOWN == 9 && F_SETOWN_EX == 15 && F_GETOWN_EX == 16 &&
              F_GETLK == 5 && F_OFD_GETLK == 36);
static_assert(TIOCGPGRP == 0x540f && TIOCSPGRP == 0x5410 && TIOCGSID == 0x5429 &&
              FIOSETOWN == 0x8901 && SIOCSPGRP == 0x8902 && FIOGETOWN == 0x8903 &&
              SIOCGPGRP == 0x8904);
// NOLINTEND
