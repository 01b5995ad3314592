// usage: segment_bases gs|fs. GS base of two threads, or an FS base that is not the C library's:
// some runtimes (Wine, Go's cgo, emulators) borrow the FS base for a while. While it is borrowed,
// the thread's pthread_t cannot be had from FS.
#include "selfcheck.h"

#include <asm/prctl.h>

static uint64_t areas[2][512] __attribute__((aligned(64)));

static uint64_t gs_word(uint64_t index) {
  uint64_t value;
  __asm__ volatile("movq %%gs:(%1), %0" : "=r"(value) : "r"(index * 8));
  return value;
}

static void check_gs(int which) {
  unsigned long base = 0;
  MUST(syscall(SYS_arch_prctl, ARCH_GET_GS, &base));
  CHECK(base == (unsigned long)areas[which], "thread %d: GS base is %#lx, was %p", which, base,
        (void*)areas[which]);
  for (uint64_t i = 0; i < 512; i++)
    CHECK(gs_word(i) == areas[which][i], "thread %d: gs:%llu", which, (unsigned long long)i * 8);
}

static int started, released;

static void* second(void* unused) {
  MUST(syscall(SYS_arch_prctl, ARCH_SET_GS, areas[1]));
  __atomic_store_n(&started, 1, __ATOMIC_SEQ_CST);
  while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST))
    futex(&released, FUTEX_WAIT_PRIVATE, 0, NULL);
  check_gs(1);
  return unused;
}

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: segment_bases gs|fs");
  fill(areas, sizeof areas, seed());
  if (!strcmp(argv[1], "gs")) {
    pthread_t thread;
    MUST(syscall(SYS_arch_prctl, ARCH_SET_GS, areas[0]));
    CHECK(!pthread_create(&thread, NULL, second, NULL), "pthread_create");
    while (!__atomic_load_n(&started, __ATOMIC_SEQ_CST)) sched_yield();
    ready();
    wait_line();
    check_gs(0);
    __atomic_store_n(&released, 1, __ATOMIC_SEQ_CST);
    futex(&released, FUTEX_WAKE_PRIVATE, 1, NULL);
    CHECK(!pthread_join(thread, NULL), "pthread_join");
  } else {
    unsigned long own = 0;
    MUST(syscall(SYS_arch_prctl, ARCH_GET_FS, &own));
    char byte;
    long got, first;
    ready();
    // No C library, and no stack protector, while FS is not its own.
    __asm__ volatile(
        "syscall\n"  // arch_prctl(ARCH_SET_FS, area)
        "movl %[read], %%eax\nxorl %%edi, %%edi\nmovq %[byte], %%rsi\nmovl $1, %%edx\nsyscall\n"
        "movq %%rax, %%r12\nmovq %%fs:0, %%r13\n"
        "movl %[prctl], %%eax\nmovl %[set], %%edi\nmovq %[own], %%rsi\nsyscall\n"
        "movq %%r12, %[got]\nmovq %%r13, %[first]\n"
        : [got] "=&r"(got), [first] "=&r"(first)
        : "a"(SYS_arch_prctl), "D"(ARCH_SET_FS), "S"(areas[0]), [read] "i"(SYS_read),
          [byte] "r"(&byte), [prctl] "i"(SYS_arch_prctl), [set] "i"(ARCH_SET_FS), [own] "r"(own)
        : "rdx", "rcx", "r11", "r12", "r13", "memory", "cc");
    CHECK(got == 1, "read returned %ld", got);
    CHECK((uint64_t)first == areas[0][0], "fs:0 is %#lx", first);
  }
  return pass();
}
