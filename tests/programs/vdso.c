// usage: vdso calls|spin|fault|interrupted STEPS. What the vdso says must be what the system calls say.
//   calls        waits for a line; every function is called by the C library, and by a pointer taken
//                before the save and looked up once more after it
//   spin         a second thread reads a coarse clock all the time, which is mostly inside the vdso;
//                in the end a handler of SIGTRAP must still be there
//   fault        __vdso_clock_gettime writes where no memory is, before READY
//   interrupted  waits inside a signal handler that has interrupted __vdso_clock_gettime after STEPS
//                instructions
#include "selfcheck.h"

#include <elf.h>
#include <link.h>
#include <setjmp.h>
#include <sys/auxv.h>
#include <sys/time.h>
#include <ucontext.h>

typedef int clock_function(clockid_t, struct timespec*);

static char* vdso(void) {
  char* base = (char*)getauxval(AT_SYSINFO_EHDR);
  if (!base) SKIP("this kernel maps no vdso");
  return base;
}

// As a debugger or a language's runtime does it, from memory.
static char* look_up(const char* name) {
  char* base = vdso();
  const Elf64_Ehdr* head = (const Elf64_Ehdr*)base;
  const Elf64_Shdr* sections = (const Elf64_Shdr*)(base + head->e_shoff);
  for (int i = 0; i < head->e_shnum; i++) {
    if (sections[i].sh_type != SHT_DYNSYM) continue;
    const Elf64_Sym* symbols = (const Elf64_Sym*)(base + sections[i].sh_offset);
    const char* names = base + sections[sections[i].sh_link].sh_offset;
    for (size_t n = 0; n < sections[i].sh_size / sizeof *symbols; n++)
      if (!strcmp(names + symbols[n].st_name, name)) return base + symbols[n].st_value;
  }
  return NULL;
}

static int64_t nanoseconds(struct timespec time) {
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

// Between two system calls of the same clock.
static void check_clock(const char* who, clock_function* read_clock, clockid_t clock) {
  struct timespec before, told = {-1, -1}, after;
  MUST(syscall(SYS_clock_gettime, clock, &before));
  int result = read_clock(clock, &told);
  MUST(syscall(SYS_clock_gettime, clock, &after));
  CHECK(result == 0, "%s of clock %d gives %d", who, clock, result);
  CHECK(nanoseconds(before) <= nanoseconds(told) && nanoseconds(told) <= nanoseconds(after),
        "%s of clock %d says %lld, the kernel %lld to %lld", who, clock,
        (long long)nanoseconds(told), (long long)nanoseconds(before),
        (long long)nanoseconds(after));
}

static void check_all(clock_function* pointer) {
  const clockid_t clocks[] = {CLOCK_REALTIME,        CLOCK_MONOTONIC,        CLOCK_BOOTTIME, CLOCK_TAI,
                              CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_MONOTONIC_RAW,
                              CLOCK_PROCESS_CPUTIME_ID};
  clock_function* found = (clock_function*)look_up("__vdso_clock_gettime");
  CHECK(found == pointer, "__vdso_clock_gettime is at %p, was at %p", (void*)found, (void*)pointer);
  for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
    check_clock("clock_gettime()", clock_gettime, clocks[i]);
    check_clock("the vdso", pointer, clocks[i]);
    struct timespec told, resolution;
    MUST(clock_getres(clocks[i], &told));
    MUST(syscall(SYS_clock_getres, clocks[i], &resolution));
    CHECK(nanoseconds(told) == nanoseconds(resolution), "the resolution of clock %d", clocks[i]);
  }
  struct timespec coarse;
  MUST(syscall(SYS_clock_gettime, CLOCK_REALTIME_COARSE, &coarse));
  time_t now = time(NULL);
  CHECK(now == coarse.tv_sec || now == coarse.tv_sec + 1, "time() says %ld, the kernel %ld", now,
        coarse.tv_sec);
  struct timeval told;
  MUST(gettimeofday(&told, NULL));
  CHECK(told.tv_sec >= coarse.tv_sec && told.tv_sec <= time(NULL) + 1, "gettimeofday() says %ld",
        told.tv_sec);
  unsigned cpu = ~0U, node = ~0U;
  MUST(getcpu(&cpu, &node));
  CHECK(cpu < 4096 && node < 4096, "getcpu() says %u, %u", cpu, node);
  // arc4random() and getrandom() of newer C libraries; these calls by the vdso's own rules.
  ssize_t (*draw)(void*, size_t, unsigned, void*, size_t) = (void*)look_up("__vdso_getrandom");
  if (draw) {
    unsigned char bytes[32] = {0};
    CHECK(draw(bytes, sizeof bytes, 0, NULL, 0) == sizeof bytes && first_nonzero(bytes, 32) >= 0,
          "__vdso_getrandom");
  }
}

static volatile int stop_spinning;

static void* spin(void* unused) {
  (void)unused;
  int64_t last = 0;
  while (!stop_spinning) {
    struct timespec told = {0, 0};
    clock_gettime(CLOCK_REALTIME_COARSE, &told);
    CHECK(nanoseconds(told) >= last, "the clock went from %lld to %lld", (long long)last,
          (long long)nanoseconds(told));
    last = nanoseconds(told);
  }
  return NULL;
}

static volatile int traps;

static void on_trap(int number) {
  (void)number;
  traps++;
}

static sigjmp_buf escape;

static void on_fault(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  CHECK(info->si_addr == (void*)8, "si_addr is %p", info->si_addr);
  siglongjmp(escape, 1);
}

static char *begin, *end;
static volatile int steps_left = -1;

// Steps through the function, and waits after so many steps.
static void on_step(int number, siginfo_t* info, void* context) {
  (void)number, (void)info;
  ucontext_t* at = context;
  char* pc = (char*)at->uc_mcontext.gregs[REG_RIP];
  if (pc < begin || pc >= end || steps_left-- > 0) return;
  at->uc_mcontext.gregs[REG_EFL] &= ~0x100;
  say("AT %ld", (long)(pc - begin));
  ready();
  wait_line();
}

int main(int argc, char** argv) {
  CHECK(argc >= 2, "usage: vdso calls|spin|fault|interrupted STEPS");
  clock_function* pointer = (clock_function*)look_up("__vdso_clock_gettime");
  CHECK(pointer, "no __vdso_clock_gettime");
  if (!strcmp(argv[1], "calls")) {
    check_all(pointer);
    ready();
    wait_line();
  } else if (!strcmp(argv[1], "spin")) {
    pthread_t thread;
    CHECK(signal(SIGTRAP, on_trap) != SIG_ERR, "signal");
    CHECK(!pthread_create(&thread, NULL, spin, NULL), "pthread_create");
    ready();
    wait_line();
    stop_spinning = 1;
    CHECK(!pthread_join(thread, NULL), "pthread_join");
    CHECK(traps == 0, "the handler has run before there was a signal");
    raise(SIGTRAP);
    CHECK(traps == 1, "the handler has run %d times", traps);
  } else if (!strcmp(argv[1], "fault")) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    MUST(sigaction(SIGSEGV, &action, NULL));
    if (!sigsetjmp(escape, 1)) {
      pointer(CLOCK_MONOTONIC, (struct timespec*)8);
      CHECK(0, "no fault");
    }
    ready();
    wait_line();
  } else {
    CHECK(argc == 3, "usage: vdso interrupted STEPS");
    begin = (char*)pointer;
    end = begin + 64;
    steps_left = atoi(argv[2]);
    struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};
    MUST(sigaction(SIGTRAP, &action, NULL));
    struct timespec told = {-1, -1};
    // The trap flag: a SIGTRAP after each instruction. The red zone belongs to the compiler.
    __asm__ volatile(
        "sub $128, %%rsp; pushf; orq $0x100, (%%rsp); popf; add $128, %%rsp" ::: "memory", "cc");
    int result = pointer(CLOCK_MONOTONIC, &told);
    __asm__ volatile(
        "sub $128, %%rsp; pushf; andq $~0x100, (%%rsp); popf; add $128, %%rsp" ::: "memory", "cc");
    struct timespec after;
    MUST(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &after));
    CHECK(steps_left < 0, "the function was too short");
    CHECK(result == 0 && nanoseconds(told) > 0 && nanoseconds(told) <= nanoseconds(after),
          "the interrupted call gives %d, %lld", result, (long long)nanoseconds(told));
  }
  check_all(pointer);
  return pass();
}
