# A program without a C library; what differs from run to run is where its stack is.
        .globl  _start
        .data
total:  .quad   0
        .text
work:                                   # adds %rdi to the total
        lea     (%rdi,%rdi), %rax
        add     %rax, total(%rip)
        mov     total(%rip), %rax
        ret
_start:
        mov     $1, %ebx
again:
        mov     %rbx, %rdi
        call    work
        inc     %ebx
        cmp     $6, %ebx
        jne     again
        mov     total(%rip), %rdi       # 30
        mov     $60, %eax
        syscall
        .size   work, _start-work
        .type   work, @function
