// usage: stretches NAME | --list. Runs a stretch of code between two int3, for whom it is stepped
// by instructions (stepper.c), and checks all that comes of it. Prints LOST where a child is not
// there to be waited for: it does not come back with a snapshot.
#include "selfcheck.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <setjmp.h>
#include <spawn.h>
#include <sys/auxv.h>
#include <sys/rseq.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

extern char** environ;

#define MARK __asm__ volatile("int3" ::: "memory")
#define OK(call)                                     \
  do {                                               \
    int error = (call);                              \
    CHECK(!error, "%s: %s", #call, strerror(error)); \
  } while (0)

enum { PAGE = 4096 };
static const char* own_path;
static pid_t process;
static int ends[2], back[2];

static void handle(int signal, void (*handler)(int, siginfo_t*, void*), int flags) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
  MUST(sigaction(signal, &action, NULL));
}

static void nothing(void) {}

static void on_trap(int signal) { (void)signal; }

// The kernel takes the handler away where the program is stepped while it blocks all signals, as
// the C library does when it makes a thread.
static void end_stretch(void) {
  signal(SIGTRAP, on_trap);
  MARK;
}

// ---- system calls

static void make_pipes(void) {
  MUST(pipe(ends));
  MUST(pipe(back));
}

static void make_calls(void) {
  char bytes[8] = "";
  struct stat status;
  CHECK(write(ends[1], "abcd", 4) == 4, "write: %s", strerror(errno));
  CHECK(!fstat(ends[0], &status) && S_ISFIFO(status.st_mode), "fstat: %s", strerror(errno));
  CHECK(read(ends[0], bytes, sizeof bytes) == 4 && !memcmp(bytes, "abcd", 5), "read %s", bytes);
  errno = 0;
  CHECK(read(-1, bytes, 1) == -1 && errno == EBADF, "read of nothing: %s", strerror(errno));
  CHECK(getpid() == process && gettid() == process, "ids %d %d", getpid(), gettid());
  int copy = dup(ends[0]);
  CHECK(copy > back[1] && !close(copy), "dup: %s", strerror(errno));
}

static void* echo(void* unused) {
  char byte;
  while (read(ends[0], &byte, 1) == 1 && byte) {
    byte++;
    CHECK(write(back[1], &byte, 1) == 1, "echo: %s", strerror(errno));
  }
  return unused;
}

static pthread_t echoing;
static void start_echo(void) {
  make_pipes();
  OK(pthread_create(&echoing, NULL, echo, NULL));
}

static void block(void) {
  const struct timespec soon = {0, 1000000};
  struct timespec then;
  int word = 5;
  for (char i = 1; i < 3; i++) {
    char byte = i;
    CHECK(write(ends[1], &byte, 1) == 1, "write: %s", strerror(errno));
    CHECK(read(back[0], &byte, 1) == 1 && byte == i + 1, "read: %d, %s", byte, strerror(errno));
  }
  OK(clock_nanosleep(CLOCK_MONOTONIC, 0, &soon, NULL));
  MUST(clock_gettime(CLOCK_MONOTONIC, &then));
  if ((then.tv_nsec += 1000000) > 999999999) then.tv_sec++, then.tv_nsec -= 1000000000;
  OK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &then, NULL));
  CHECK(poll(NULL, 0, 1) == 0, "poll: %s", strerror(errno));
  CHECK(futex(&word, FUTEX_WAIT_PRIVATE, 5, &soon) == -1 && errno == ETIMEDOUT, "futex: %s",
        strerror(errno));
  CHECK(write(ends[1], "", 1) == 1, "write: %s", strerror(errno));
  OK(pthread_join(echoing, NULL));
}

static void read_clocks(void) {
  uint64_t last = 0;
  for (int i = 0; i < 3; i++) {
    struct timeval day = {0, 0};
    unsigned cpu = 999999;
    const uint64_t now = now_ns(i == 1 ? CLOCK_MONOTONIC_COARSE : CLOCK_MONOTONIC);
    CHECK(i == 1 || now >= last, "%lu after %lu", now, last);
    if (i != 1) last = now;
    CHECK(!gettimeofday(&day, NULL) && day.tv_sec > 1000000, "gettimeofday");
    CHECK(time(NULL) > 1000000, "time");
    CHECK(!getcpu(&cpu, NULL) && cpu < 100000, "cpu %u", cpu);
  }
}

// ---- signals

static volatile int order[16];
static volatile int happened;

static void on_outer(int signal, siginfo_t* info, void* context) {
  (void)context;
  CHECK(signal == SIGUSR1 && info->si_signo == SIGUSR1, "signal %d", signal);
  order[happened++] = 1;
  CHECK(!raise(SIGUSR2), "raise: %s", strerror(errno));
  order[happened++] = 3;
}

static void on_inner(int signal, siginfo_t* info, void* context) {
  (void)context;
  CHECK(signal == SIGUSR2 && info->si_signo == SIGUSR2, "signal %d", signal);
  order[happened++] = 2;
}

static void on_value(int signal, siginfo_t* info, void* context) {
  (void)signal;
  (void)context;
  CHECK(info->si_value.sival_int == 4711, "value %d", info->si_value.sival_int);
  order[happened++] = 4;
}

static void catch_signals(void) {
  handle(SIGUSR1, on_outer, 0);
  handle(SIGUSR2, on_inner, 0);
  handle(SIGRTMIN + 2, on_value, 0);
}

static void send_signals(void) {
  static const int wanted[] = {1, 2, 3, 1, 2, 3, 4};
  sigset_t set, pending;
  CHECK(!kill(getpid(), SIGUSR1), "kill: %s", strerror(errno));
  CHECK(happened == 3, "%d handlers", happened);
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
  CHECK(!raise(SIGUSR1) && happened == 3, "blocked: %d handlers", happened);
  CHECK(!sigpending(&pending) && sigismember(&pending, SIGUSR1), "SIGUSR1 is not pending");
  OK(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
  CHECK(happened == 6, "unblocked: %d handlers", happened);
  CHECK(!sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 4711}), "sigqueue");
  CHECK(happened == 7, "queued: %d handlers", happened);
  for (int i = 0; i < 7; i++) CHECK(order[i] == wanted[i], "%d. is %d", i, order[i]);
}

static char* guarded;
static volatile int faults;

static void on_fault(int signal, siginfo_t* info, void* context) {
  (void)signal;
  (void)context;
  CHECK((char*)info->si_addr == guarded + 8, "fault at %p", info->si_addr);
  CHECK(!mprotect(guarded, PAGE, PROT_READ | PROT_WRITE), "mprotect: %s", strerror(errno));
  __asm__ volatile(
      "fninit\npcmpeqb %%xmm0, %%xmm0\npcmpeqb %%xmm7, %%xmm7\nxorl %%ebx, %%ebx"
      "\nxorl %%r12d, %%r12d" ::
          : "xmm0", "xmm7", "rbx", "r12", "memory");
  faults++;
}

static void guard(void) {
  guarded = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(guarded != MAP_FAILED, "mmap: %s", strerror(errno));
  handle(SIGSEGV, on_fault, 0);
}

// What was in the registers is there again when the handler has returned.
static void fault(void) {
  const uint64_t in[4] = {pattern(seed(), 1), pattern(seed(), 2), pattern(seed(), 3),
                          pattern(seed(), 4)};
  uint64_t out[4] = {0}, general[2];
  double one = 0, pi = 0;
  __asm__ volatile(
      "fld1\nfldpi\n"
      "movdqu (%[in]), %%xmm0\nmovdqu 16(%[in]), %%xmm7\n"
      "movq (%[in]), %%rbx\nmovq 24(%[in]), %%r12\n"
      "movq $77, 8(%[page])\n"
      "movdqu %%xmm0, (%[out])\nmovdqu %%xmm7, 16(%[out])\n"
      "movq %%rbx, (%[general])\nmovq %%r12, 8(%[general])\n"
      "fstpl %[pi]\nfstpl %[one]\n"
      : [one] "=m"(one), [pi] "=m"(pi)
      : [in] "r"(in), [out] "r"(out), [general] "r"(general), [page] "r"(guarded)
      : "xmm0", "xmm7", "rbx", "r12", "memory");
  CHECK(faults == 1 && *(uint64_t*)(guarded + 8) == 77, "%d faults", faults);
  CHECK(!memcmp(in, out, sizeof in), "vector registers");
  CHECK(general[0] == in[0] && general[1] == in[3], "general registers");
  CHECK(one == 1.0 && pi > 3.14159 && pi < 3.1416, "%f %f", one, pi);
}

static sigjmp_buf out_of_handler;
static void on_jump(int signal, siginfo_t* info, void* context) {
  (void)info;
  (void)context;
  siglongjmp(out_of_handler, signal);
}

static void make_alternate_stack(void) {
  const stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
  MUST(sigaltstack(&stack, NULL));
  handle(SIGUSR1, on_jump, SA_ONSTACK);
}

static void jump(void) {
  static volatile int turns;
  jmp_buf place;
  const uint64_t kept = pattern(seed(), 7);
  const int got = setjmp(place);
  CHECK(got == turns && kept == pattern(seed(), 7), "jump %d of %d", got, turns);
  if (turns++ < 2) longjmp(place, turns);
  const int signal = sigsetjmp(out_of_handler, 1);
  if (!signal) {
    CHECK(!raise(SIGUSR1), "raise");
    FAIL("the handler returned");
  }
  sigset_t mask;
  stack_t stack;
  OK(pthread_sigmask(SIG_BLOCK, NULL, &mask));
  CHECK(signal == SIGUSR1 && !sigismember(&mask, SIGUSR1), "jumped with %d", signal);
  CHECK(!sigaltstack(NULL, &stack) && stack.ss_flags == 0, "on the stack: %x", stack.ss_flags);
}

// ---- threads and processes

static __thread uint64_t of_thread = 5;

static void* short_lived(void* argument) {
  CHECK(of_thread == 5, "thread-local storage: %lu", of_thread);
  of_thread = (uintptr_t)argument;
  sched_yield();
  CHECK(of_thread == (uintptr_t)argument, "thread-local storage: %lu", of_thread);
  return (char*)argument + 1;
}

static void make_threads(void) {
  for (uintptr_t i = 1; i < 3; i++) {
    pthread_t thread;
    void* result = NULL;
    OK(pthread_create(&thread, NULL, short_lived, (void*)i));
    OK(pthread_join(thread, &result));
    CHECK((uintptr_t)result == i + 1 && of_thread == 5, "result %p", result);
  }
}

static int cloned, cleared, parent_id;
static char* stack_of_clone;

static int in_clone(void* argument) {
  __atomic_store_n(&cloned, *(int*)argument, __ATOMIC_SEQ_CST);
  return 0;
}

static void make_stack(void) {
  stack_of_clone = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(stack_of_clone != MAP_FAILED, "mmap: %s", strerror(errno));
}

// A thread that the C library does not know.
static void make_clone(void) {
  const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                    CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
  int value = 4711;
  cleared = 1;
  const int tid =
      clone(in_clone, stack_of_clone + 65536, flags, &value, &parent_id, NULL, &cleared);
  CHECK(tid > 0 && parent_id > 0, "clone: %s", strerror(errno));
  while (__atomic_load_n(&cleared, __ATOMIC_SEQ_CST)) futex(&cleared, FUTEX_WAIT, 1, NULL);
  CHECK(__atomic_load_n(&cloned, __ATOMIC_SEQ_CST) == 4711, "cloned %d", cloned);
}

static void reap(pid_t child, int wanted) {
  int status = 0;
  CHECK(child > 0, "no child: %s", strerror(errno));
  const pid_t got = waitpid(child, &status, 0);
  if (got < 0 && errno == ECHILD) {
    say("LOST");
    return;
  }
  CHECK(got == child, "waitpid: %d, not %d: %s", got, child, strerror(errno));
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == wanted, "status %x", status);
}

static void make_child(void) {
  const pid_t child = fork();
  if (child == 0) _exit(getpid() == process ? 1 : getppid() != process ? 2 : 42);
  reap(child, 42);
}

static void make_vfork(void) {
  const pid_t child = vfork();
  if (child == 0) {
    execl("/bin/true", "true", (char*)NULL);
    _exit(9);
  }
  reap(child, 0);
}

static void spawn(void) {
  char* const words[] = {"true", NULL};
  pid_t child = 0;
  OK(posix_spawn(&child, "/bin/true", NULL, NULL, words, environ));
  reap(child, 0);
}

static void execute(void) {
  char kept[16], closed[16];
  MUST(fcntl(ends[1], F_SETFD, FD_CLOEXEC));
  MUST(write(ends[1], "kept", 4));
  snprintf(kept, sizeof kept, "%d", ends[0]);
  snprintf(closed, sizeof closed, "%d", ends[1]);
  execl(own_path, own_path, "--again", selfcheck_nonce, kept, closed, (char*)NULL);
  FAIL("execl: %s", strerror(errno));
}

// Behind execute().
static int executed(char** argv) {
  char bytes[8] = "";
  snprintf(selfcheck_nonce, sizeof selfcheck_nonce, "%s", argv[2]);
  CHECK(read(atoi(argv[3]), bytes, 8) == 4 && !strcmp(bytes, "kept"), "read %s", bytes);
  errno = 0;
  CHECK(fcntl(atoi(argv[4]), F_GETFD) == -1 && errno == EBADF, "close-on-exec");
  CHECK(getpid() == gettid() && getauxval(AT_PAGESZ) == PAGE, "the new program");
  end_stretch();
  return pass();
}

// ---- the C library

static void load(void) {
  void* library = dlopen("libm.so.6", RTLD_LAZY);
  CHECK(library, "%s", dlerror());
  double (*function)(double) = (double (*)(double))dlsym(library, "cbrt");
  CHECK(function && function(27.0) > 2.999999 && function(27.0) < 3.000001, "cbrt");
  CHECK(!dlclose(library), "%s", dlerror());
  CHECK(!dlopen("libm.so.6", RTLD_LAZY | RTLD_NOLOAD), "it is still there");
}

static void check_filled(const char* memory, size_t bytes, uint64_t with) {
  CHECK(first_difference(memory, bytes, with) < 0, "%zu bytes of memory", bytes);
}

static void allocate(void) {
  static const size_t sizes[] = {48, 1000, 40000, 300000};
  char* blocks[4];
  for (size_t i = 0; i < 4; i++) {
    blocks[i] = malloc(sizes[i]);
    CHECK(blocks[i], "malloc");
    fill(blocks[i], 24, i);
    fill(blocks[i] + sizes[i] - 24, 24, i + 10);
  }
  char* larger = realloc(blocks[3], 900000);  // moved by mremap
  CHECK(larger, "realloc");
  check_filled(larger, 24, 3);
  check_filled(larger + sizes[3] - 24, 24, 13);
  CHECK(first_nonzero(larger + 800000, 64) < 0, "new memory");
  free(larger);
  for (size_t i = 0; i < 3; i++) {
    check_filled(blocks[i], 24, i);
    check_filled(blocks[i] + sizes[i] - 24, 24, i + 10);
    free(blocks[i]);
  }
  malloc_trim(0);
  char* pages = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(pages != MAP_FAILED, "mmap: %s", strerror(errno));
  for (int i = 0; i < 4; i++) fill(pages + i * PAGE, 64, (uint64_t)i);
  CHECK(!mprotect(pages + PAGE, PAGE, PROT_READ), "mprotect: %s", strerror(errno));
  CHECK(!madvise(pages + 2 * PAGE, PAGE, MADV_DONTNEED), "madvise: %s", strerror(errno));
  CHECK(!munmap(pages + 3 * PAGE, PAGE), "munmap: %s", strerror(errno));
  for (int i = 0; i < 2; i++) check_filled(pages + i * PAGE, 64, (uint64_t)i);
  CHECK(first_nonzero(pages + 2 * PAGE, PAGE) < 0, "memory that was given back");
  CHECK(!munmap(pages, 3 * PAGE), "munmap: %s", strerror(errno));
}

enum { ERRORCHECK, RECURSIVE, ROBUST, PI, MUTEXES };
static pthread_mutex_t mutexes[MUTEXES], plain = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

static void make_locks(void) {
  for (int i = 0; i < MUTEXES; i++) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes,
                              i == RECURSIVE ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_ERRORCHECK);
    if (i == ROBUST) pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (i == PI) pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    OK(pthread_mutex_init(&mutexes[i], &attributes));
  }
}

static void lock(void) {
  for (int i = 0; i < MUTEXES; i++) {
    OK(pthread_mutex_lock(&mutexes[i]));
    const int again = pthread_mutex_lock(&mutexes[i]);
    CHECK(again == (i == RECURSIVE ? 0 : EDEADLK), "mutex %d: %s", i, strerror(again));
  }
  OK(pthread_rwlock_wrlock(&rwlock));
  CHECK(pthread_rwlock_wrlock(&rwlock) == EDEADLK, "a read-write lock");
  OK(pthread_rwlock_unlock(&rwlock));
  flockfile(stdout);
  flockfile(stdout);
  funlockfile(stdout);
  funlockfile(stdout);
  struct timespec soon;
  MUST(clock_gettime(CLOCK_REALTIME, &soon));
  OK(pthread_mutex_lock(&plain));
  CHECK(pthread_cond_timedwait(&condition, &plain, &soon) == ETIMEDOUT, "a condition");
  OK(pthread_mutex_unlock(&plain));
  OK(pthread_mutex_unlock(&mutexes[RECURSIVE]));
  for (int i = 0; i < MUTEXES; i++) OK(pthread_mutex_unlock(&mutexes[i]));
  CHECK(pthread_mutex_unlock(&mutexes[RECURSIVE]) == EPERM, "unlocked");
}

// ---- restartable sequences

static struct rseq* area;
static uint64_t committed;

static void find_area(void) {
  if (!__rseq_size) SKIP("glibc did not register rseq here");
  area = (struct rseq*)((char*)__builtin_thread_pointer() + __rseq_offset);
}

// Adds one to a number, or aborts. A stop within it aborts it when it goes on.
static int add_one(uint64_t* number) {
  long aborted = 0;
  uint64_t mark = pattern(selfcheck_seed, 3);
  __asm__ volatile(
      ".pushsection __rseq_cs_table, \"aw\"\n"
      ".balign 32\n"
      "9: .long 0, 0\n.quad 1f, 2f - 1f, 4f\n"
      ".popsection\n"
      "leaq 9b(%%rip), %%rax\n"
      "movq %%rax, %[cs]\n"
      "1: movq %[number], %%rax\n"
      "addq $1, %%rax\n"
      "nop\n"
      "movq %%rax, %[number]\n"
      "2: jmp 5f\n"
      ".byte 0x0f, 0xb9, 0x3d\n.long 0x53053053\n"  // RSEQ_SIG, inside an undefined instruction
      "4: movq $1, %[aborted]\n"
      "5: movq $0, %[cs]\n"
      : [cs] "+m"(area->rseq_cs), [aborted] "+r"(aborted), [number] "+m"(*number), [mark] "+r"(mark)
      :
      : "rax", "memory", "cc");
  CHECK(mark == pattern(selfcheck_seed, 3), "a register");
  return !aborted;
}

static void restart(void) {
  for (uint64_t i = 0; i < 3; i++) {
    int added = 0;
    for (int attempts = 0; attempts < 3 && !added; attempts++) added = add_one(&committed);
    if (!added) committed++;  // who steps through it never gets to the end
    CHECK(committed == i + 1, "%lu instead of %lu", committed, i + 1);
  }
}

// ---- all of them

static const struct {
  const char* name;
  void (*prepare)(void);
  void (*run)(void);
} stretches[] = {
    {"calls", make_pipes, make_calls},
    {"blocks", start_echo, block},
    {"clocks", nothing, read_clocks},
    {"signals", catch_signals, send_signals},
    {"fault", guard, fault},
    {"jumps", make_alternate_stack, jump},
    {"threads", nothing, make_threads},
    {"clone", make_stack, make_clone},
    {"fork", nothing, make_child},
    {"vfork", nothing, make_vfork},
    {"spawn", nothing, spawn},
    {"exec", make_pipes, execute},
    {"dlopen", nothing, load},
    {"memory", nothing, allocate},
    {"locks", make_locks, lock},
    {"rseq", find_area, restart},
};
enum { STRETCHES = sizeof stretches / sizeof stretches[0] };

int main(int argc, char** argv) {
  CHECK(argc > 1, "usage: stretches NAME");
  signal(SIGTRAP, on_trap);
  own_path = argv[0];
  process = getpid();
  if (!strcmp(argv[1], "--again")) return executed(argv);
  for (int i = 0; i < STRETCHES; i++) {
    if (!strcmp(argv[1], "--list")) say("%s", stretches[i].name);
    if (strcmp(argv[1], stretches[i].name) != 0) continue;
    stretches[i].prepare();
    ready();
    wait_line();
    MARK;
    stretches[i].run();
    end_stretch();
    return pass();
  }
  CHECK(!strcmp(argv[1], "--list"), "no such stretch: %s", argv[1]);
  return 0;
}
