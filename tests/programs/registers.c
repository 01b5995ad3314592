// usage: registers KIND HOW
//   KIND  gpr | x87 | sse | avx | avx512     what is live
//   HOW   spin: in a loop that makes no system call, so the stop lands between any two instructions
//         block: across a system call that blocks (the kernel keeps all of these but rax, rcx, r11)
//         handler: as spin, but a signal handler that has interrupted the loop waits for the line
// The live stretch is one asm block: compilers may not keep or spill anything of their own in
// between.
#include "selfcheck.h"

#include <cpuid.h>

static int stop_spinning __asm__("registers_stop_spinning") __attribute__((used));
static int spinning __asm__("registers_spinning") __attribute__((used));
static char byte_read;

static uint8_t in[32 * 64] __attribute__((aligned(64)));
static uint8_t out[32 * 64] __attribute__((aligned(64)));

#define SPIN                                  \
  "movl $1, registers_spinning(%%rip)\n"      \
  "1: pause\n"                                \
  "cmpl $0, registers_stop_spinning(%%rip)\n" \
  "je 1b\n"
// read(0, &byte_read, 1); rax, rdi, rsi, rdx are set up before the block.
#define BLOCK "syscall\n"

#define EACH16(m) \
  m(0) m(1) m(2) m(3) m(4) m(5) m(6) m(7) m(8) m(9) m(10) m(11) m(12) m(13) m(14) m(15)
#define EACH32(m) \
  EACH16(m)       \
  m(16) m(17) m(18) m(19) m(20) m(21) m(22) m(23) m(24) m(25) m(26) m(27) m(28) m(29) m(30) m(31)

#define LOAD_SSE(n) "movdqa " #n "*16(%%r8), %%xmm" #n "\n"
#define STORE_SSE(n) "movdqa %%xmm" #n ", " #n "*16(%%r9)\n"
#define LOAD_AVX(n) "vmovdqa " #n "*32(%%r8), %%ymm" #n "\n"
#define STORE_AVX(n) "vmovdqa %%ymm" #n ", " #n "*32(%%r9)\n"
#define LOAD_512(n) "vmovdqa64 " #n "*64(%%r8), %%zmm" #n "\n"
#define STORE_512(n) "vmovdqa64 %%zmm" #n ", " #n "*64(%%r9)\n"

#define XMM_CLOBBERS                                                                       \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
      "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

#define RUN(load, live, store, ...)                                                         \
  do {                                                                                      \
    register uint8_t* from __asm__("r8") = in;                                              \
    register uint8_t* to __asm__("r9") = out;                                               \
    __asm__ volatile(load live store                                                        \
                     : "=a"(result)                                                         \
                     : "a"(SYS_read), "D"(0L), "S"(&byte_read), "d"(1L), "r"(from), "r"(to) \
                     : "rcx", "r11", "memory", "cc", __VA_ARGS__);                          \
  } while (0)

static long run(const char* kind, int block, size_t* bytes) {
  long result = 1;
  if (!strcmp(kind, "sse")) {
    *bytes = 16 * 16;
    // MXCSR too: round towards zero, denormals are zero.
    unsigned mxcsr = 0x1f80 | 0x6000 | 0x40, after = 0, normal = 0x1f80;
    __asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
    if (block)
      RUN(EACH16(LOAD_SSE), BLOCK, EACH16(STORE_SSE), XMM_CLOBBERS);
    else
      RUN(EACH16(LOAD_SSE), SPIN, EACH16(STORE_SSE), XMM_CLOBBERS);
    __asm__ volatile("stmxcsr %0\nldmxcsr %1" : "=m"(after) : "m"(normal));
    CHECK(after == mxcsr, "mxcsr is %#x, was %#x", after, mxcsr);
  } else if (!strcmp(kind, "avx")) {
    *bytes = 16 * 32;
    if (block)
      RUN(EACH16(LOAD_AVX), BLOCK, EACH16(STORE_AVX) "vzeroupper\n", XMM_CLOBBERS);
    else
      RUN(EACH16(LOAD_AVX), SPIN, EACH16(STORE_AVX) "vzeroupper\n", XMM_CLOBBERS);
  } else if (!strcmp(kind, "avx512")) {
    *bytes = 32 * 64;
    // The opmask registers are loaded with what zmm0 begins with, and land in zmm31's last 64
    // bytes' place at the end: each is compared in the asm itself, a difference leaves rax at
    // -1000.
#define LOAD_K(n) "kmovq " #n "*8(%%r8), %%k" #n "\n"
#define LOAD_MASKS LOAD_K(0) LOAD_K(1) LOAD_K(2) LOAD_K(3) LOAD_K(4) LOAD_K(5) LOAD_K(6) LOAD_K(7)
#define CHECK_K(n) "kmovq %%k" #n ", %%rcx\ncmpq " #n "*8(%%r8), %%rcx\njne 3f\n"
#define CHECK_MASKS \
  CHECK_K(0) CHECK_K(1) CHECK_K(2) CHECK_K(3) CHECK_K(4) CHECK_K(5) CHECK_K(6) CHECK_K(7) "jmp 4f\n"                  \
                                                                                          "3: movq $-1000, %%rax\n"   \
                                                                                          "4: vzeroupper\n"
    if (block)
      RUN(EACH32(LOAD_512) LOAD_MASKS, BLOCK, EACH32(STORE_512) CHECK_MASKS, XMM_CLOBBERS);
    else
      RUN(EACH32(LOAD_512) LOAD_MASKS, SPIN, EACH32(STORE_512) CHECK_MASKS, XMM_CLOBBERS);
    CHECK(result != -1000, "an opmask register differs");
  } else if (!strcmp(kind, "x87")) {
    *bytes = 0;
    // Eight values on the register stack and a control word that rounds up, in 53-bit precision.
    unsigned short control = 0x0a7f, after = 0;
    double values[8], back[8];
    for (int i = 0; i < 8; i++) values[i] = (double)(pattern(seed(), (uint64_t)i) >> 12) / 3.0;
#define X87_LOAD                                                                     \
  "fninit\nfldcw %3\nfldl (%%r8)\nfldl 8(%%r8)\nfldl 16(%%r8)\nfldl 24(%%r8)\nfldl " \
  "32(%%r8)\nfldl 40(%%r8)\n"                                                        \
  "fldl 48(%%r8)\nfldl 56(%%r8)\n"
#define X87_STORE                                                                          \
  "fstpl 56(%%r9)\nfstpl 48(%%r9)\nfstpl 40(%%r9)\nfstpl 32(%%r9)\nfstpl 24(%%r9)\nfstpl " \
  "16(%%r9)\nfstpl 8(%%r9)\n"                                                              \
  "fstpl (%%r9)\nfnstcw %1\nfninit\n"
    register double* from __asm__("r8") = values;
    register double* to __asm__("r9") = back;
    if (block)
      __asm__ volatile(X87_LOAD BLOCK X87_STORE
                       : "=a"(result), "=m"(after)
                       : "a"(SYS_read), "m"(control), "D"(0L), "S"(&byte_read), "d"(1L), "r"(from),
                         "r"(to)
                       : "rcx", "r11", "memory", "cc");
    else
      __asm__ volatile(X87_LOAD SPIN X87_STORE
                       : "=a"(result), "=m"(after)
                       : "a"(1L), "m"(control), "D"(0L), "S"(&byte_read), "d"(1L), "r"(from),
                         "r"(to)
                       : "rcx", "r11", "memory", "cc");
    CHECK(after == control, "x87 control word is %#x, was %#x", after, control);
    for (int i = 0; i < 8; i++)
      CHECK(back[i] == values[i], "x87 register %d: %.20g, was %.20g", i, back[i], values[i]);
  } else if (!strcmp(kind, "gpr")) {
    *bytes = 8 * 14;
    // All of them but rsp, rbp included; the red zone below rsp as well, so the asm steps over it.
#define GPR_LOAD                                                                               \
  "subq $256, %%rsp\npushq %%rbp\npushq %%rbx\npushq %%r9\n"                                   \
  "movq 0(%%r8), %%rbx\nmovq 8(%%r8), %%rbp\nmovq 16(%%r8), %%r9\nmovq 24(%%r8), %%r10\nmovq " \
  "32(%%r8), %%r12\n"                                                                          \
  "movq 40(%%r8), %%r13\nmovq 48(%%r8), %%r14\nmovq 56(%%r8), %%r15\nmovq 64(%%r8), %%r8\n"    \
  "movq %%rbx, -8(%%rsp)\nmovq %%rbp, -128(%%rsp)\n"
    // The result area's address waits on the stack. `std`'s direction flag is a register bit as
    // well.
#define GPR_STORE                                                                                  \
  "pushfq\npopq %%r11\ncld\n"                                                                      \
  "popq %%rcx\n"                                                                                   \
  "movq %%rbx, 0(%%rcx)\nmovq %%rbp, 8(%%rcx)\nmovq %%r9, 16(%%rcx)\nmovq %%r10, 24(%%rcx)\nmovq " \
  "%%r12, 32(%%rcx)\n"                                                                             \
  "movq %%r13, 40(%%rcx)\nmovq %%r14, 48(%%rcx)\nmovq %%r15, 56(%%rcx)\nmovq %%r8, 64(%%rcx)\n"    \
  "movq %%rdi, 72(%%rcx)\nmovq %%rsi, 80(%%rcx)\nmovq %%rdx, 88(%%rcx)\nmovq -136(%%rsp), "        \
  "%%rdx\nmovq %%rdx, 96(%%rcx)\n"                                                                 \
  "movq %%r11, 104(%%rcx)\n"                                                                       \
  "popq %%rbx\npopq %%rbp\naddq $256, %%rsp\n"
    register uint8_t* from __asm__("r8") = in;
    register uint8_t* to __asm__("r9") = out;
    register long r_di __asm__("rdi") = 0;
    register void* r_si __asm__("rsi") = &byte_read;
    register long r_dx __asm__("rdx") = 1;
    if (block)
      __asm__ volatile(GPR_LOAD "std\n" BLOCK GPR_STORE
                       : "=a"(result), "+r"(from), "+r"(to), "+r"(r_di), "+r"(r_si), "+r"(r_dx)
                       : "a"(SYS_read)
                       : "rcx", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
    else
      __asm__ volatile(GPR_LOAD "std\n" SPIN GPR_STORE
                       : "=a"(result), "+r"(from), "+r"(to), "+r"(r_di), "+r"(r_si), "+r"(r_dx)
                       : "a"(1L)
                       : "rcx", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
    static const int saved[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    const uint64_t* got = (const uint64_t*)out;
    const uint64_t* put = (const uint64_t*)in;
    for (size_t i = 0; i < sizeof saved / sizeof *saved; i++)
      CHECK(got[i] == put[i], "general register %zu: %#llx, was %#llx", i,
            (unsigned long long)got[i], (unsigned long long)put[i]);
    CHECK(got[9] == 0 && got[10] == (uintptr_t)&byte_read && got[11] == 1,
          "an argument register changed");
    CHECK(got[12] == put[1], "the red zone below the stack pointer was overwritten");
    CHECK(got[13] & 0x400, "the direction flag was lost");
    *bytes = 0;
  } else {
    FAIL("unknown kind %s", kind);
  }
  return result;
}

static int cpu_has(const char* kind) {
  __builtin_cpu_init();
  if (!strcmp(kind, "avx")) return __builtin_cpu_supports("avx");
  if (!strcmp(kind, "avx512"))
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
  return 1;
}

static void* releaser(void* unused) {
  (void)unused;
  wait_line();
  __atomic_store_n(&stop_spinning, 1, __ATOMIC_SEQ_CST);
  return NULL;
}

static void on_signal(int number) {
  (void)number;
  ready();
  releaser(NULL);
}

static const char* kind_wanted;

static void* subject(void* how) {
  size_t bytes = 0;
  int block = !strcmp((const char*)how, "block");
  long result = run(kind_wanted, block, &bytes);
  if (block) CHECK(result == 1, "read returned %ld", result);
  for (size_t i = 0; i < bytes; i++)
    CHECK(in[i] == out[i], "%s register %zu differs in byte %zu", kind_wanted,
          i / (bytes / (bytes == 2048 ? 32 : 16)), i);
  return NULL;
}

int main(int argc, char** argv) {
  CHECK(argc == 3, "usage: registers gpr|x87|sse|avx|avx512 spin|block|handler");
  kind_wanted = argv[1];
  if (!cpu_has(kind_wanted)) SKIP("this CPU has no %s", kind_wanted);
  fill(in, sizeof in, seed());
  if (!strcmp(argv[2], "block")) {
    ready();
    subject(argv[2]);
  } else {
    // The main thread reads the line, another spins: READY comes once it does.
    pthread_t spinner, reader;
    CHECK(!pthread_create(&spinner, NULL, subject, argv[2]), "pthread_create");
    while (!__atomic_load_n(&spinning, __ATOMIC_SEQ_CST)) sched_yield();
    if (!strcmp(argv[2], "handler")) {
      CHECK(signal(SIGUSR1, on_signal) != SIG_ERR, "signal");
      CHECK(!pthread_kill(spinner, SIGUSR1), "pthread_kill");
    } else {
      ready();
      CHECK(!pthread_create(&reader, NULL, releaser, NULL), "pthread_create");
      pthread_join(reader, NULL);
    }
    pthread_join(spinner, NULL);
  }
  return pass();
}
