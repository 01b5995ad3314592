// What every self-checking program shares: the READY / PASS / FAIL protocol.
//
//   1. The program sets up one kind of state and calls ready(): `READY <nonce>` appears on stdout.
//   The nonce comes from
//      getrandom(), so a program that was merely run again cannot print the right one.
//   2. It blocks: wait_line() reads one line from stdin, unless blocking is itself the subject.
//   3. It checks itself: `PASS <nonce>` and exit 0, or `FAIL <reason>` and exit 1.
//
// Nothing here may hide what the tests look for: the line is read with bare read() calls, and a
// call that returns early (EINTR) is a failure, not something to retry.
//
// CKPT_TEST_THREADS=N in the environment adds N-1 bystander threads which hold values in
// thread-local storage, have names and blocked signals, sleep in a futex, and check all that at the
// end. So each subject is tested with one thread and with many without a second program.
//
// Include this first: it asks for the GNU interfaces.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define SELFCHECK_UNUSED __attribute__((unused))

enum { SELFCHECK_SKIP = 77, SELFCHECK_MAX_BYSTANDERS = 256 };

static char selfcheck_nonce[17];
static uint64_t selfcheck_seed;

// ---- reporting
// -------------------------------------------------------------------------------------------------

SELFCHECK_UNUSED __attribute__((format(printf, 1, 2))) static void say(const char* format, ...) {
  char line[1024];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line - 1, format, arguments);
  va_end(arguments);
  if (length > (int)sizeof line - 2) length = (int)sizeof line - 2;
  line[length] = '\n';
  // One write: lines of several threads or of a fork child never interleave. stdio is left out
  // because its buffers would add state of their own.
  if (write(1, line, (size_t)length + 1) != length + 1) _exit(3);
}

SELFCHECK_UNUSED __attribute__((noreturn, format(printf, 4, 5))) static void selfcheck_end(
    int status, const char* what, int line, const char* format, ...) {
  char reason[900];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(reason, sizeof reason, format, arguments);
  va_end(arguments);
  say("%s %s (line %d)", what, reason, line);
  _exit(status);
}

#define FAIL(...) selfcheck_end(1, "FAIL", __LINE__, __VA_ARGS__)

// CHECK(condition, "text with printf arguments")
#define CHECK(condition, ...)            \
  do {                                   \
    if (!(condition)) FAIL(__VA_ARGS__); \
  } while (0)

// For calls that set up a test and must not fail.
#define MUST(call)                                                           \
  do {                                                                       \
    if ((long)(call) == -1L) FAIL("set-up: %s: %s", #call, strerror(errno)); \
  } while (0)

// Ends the program with `SKIP <reason>`: the machine lacks what is to be tested.
#define SKIP(...) selfcheck_end(SELFCHECK_SKIP, "SKIP", __LINE__, __VA_ARGS__)

// ---- reproducible contents
// ---------------------------------------------------------------------------------------

// splitmix64: any index of the stream without keeping the stream.
SELFCHECK_UNUSED static uint64_t pattern(uint64_t seed, uint64_t index) {
  uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

SELFCHECK_UNUSED static void fill(void* memory, size_t bytes, uint64_t seed) {
  uint64_t* words = (uint64_t*)memory;
  for (size_t i = 0; i < bytes / 8; i++) words[i] = pattern(seed, i);
}

// Index in bytes of the first word that differs, or -1.
SELFCHECK_UNUSED static long first_difference(const void* memory, size_t bytes, uint64_t seed) {
  const uint64_t* words = (const uint64_t*)memory;
  for (size_t i = 0; i < bytes / 8; i++)
    if (words[i] != pattern(seed, i)) return (long)(i * 8);
  return -1;
}

SELFCHECK_UNUSED static long first_nonzero(const void* memory, size_t bytes) {
  const unsigned char* data = (const unsigned char*)memory;
  for (size_t i = 0; i < bytes; i++)
    if (data[i]) return (long)i;
  return -1;
}

// The seed is drawn once, from the kernel; everything random in a program derives from it.
SELFCHECK_UNUSED static uint64_t seed(void) {
  if (!selfcheck_seed) {
    if (getrandom(&selfcheck_seed, sizeof selfcheck_seed, 0) != (ssize_t)sizeof selfcheck_seed ||
        !selfcheck_seed)
      FAIL("getrandom");
    snprintf(selfcheck_nonce, sizeof selfcheck_nonce, "%016llx",
             (unsigned long long)pattern(selfcheck_seed, 99));
  }
  return selfcheck_seed;
}

// ---- bystander threads
// -------------------------------------------------------------------------------------------

static pthread_t selfcheck_bystanders[SELFCHECK_MAX_BYSTANDERS];
static int selfcheck_bystander_count;
static int selfcheck_released;
static int selfcheck_started;
static __thread uint64_t selfcheck_tls_value;
static __thread char selfcheck_tls_block[256] = "initialised data";

SELFCHECK_UNUSED static long futex(int* word, int operation, int value,
                                   const struct timespec* timeout) {
  return syscall(SYS_futex, word, operation, value, timeout, NULL, 0);
}

SELFCHECK_UNUSED static void* selfcheck_bystander(void* argument) {
  const uintptr_t index = (uintptr_t)argument;
  char name[16], now[17] = "";
  snprintf(name, sizeof name, "by-%u-%.4s", (unsigned)index, selfcheck_nonce);
  CHECK(!strcmp(selfcheck_tls_block, "initialised data"), "bystander: TLS image");
  selfcheck_tls_value = pattern(seed(), 1000 + index);
  fill(selfcheck_tls_block, sizeof selfcheck_tls_block, selfcheck_tls_value);
  MUST(prctl(PR_SET_NAME, name));
  __atomic_add_fetch(&selfcheck_started, 1, __ATOMIC_SEQ_CST);
  futex(&selfcheck_started, FUTEX_WAKE_PRIVATE, 1, NULL);
  while (!__atomic_load_n(&selfcheck_released, __ATOMIC_SEQ_CST)) {
    if (futex(&selfcheck_released, FUTEX_WAIT_PRIVATE, 0, NULL) == -1 && errno != EAGAIN)
      FAIL("bystander %u: futex wait: %s", (unsigned)index, strerror(errno));
  }
  CHECK(selfcheck_tls_value == pattern(seed(), 1000 + index), "bystander %u: TLS value",
        (unsigned)index);
  CHECK(first_difference(selfcheck_tls_block, sizeof selfcheck_tls_block, selfcheck_tls_value) < 0,
        "bystander %u: TLS block", (unsigned)index);
  MUST(prctl(PR_GET_NAME, now));
  CHECK(!strcmp(name, now), "bystander %u: name is %s, was %s", (unsigned)index, now, name);
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, NULL, &mask);
  CHECK(sigismember(&mask, SIGUSR1) && sigismember(&mask, SIGRTMIN + 3),
        "bystander %u: signal mask", (unsigned)index);
  return (void*)(uintptr_t)selfcheck_tls_value;
}

// ready() does it; a program calls this itself when their stacks and arenas would disturb what it
// is about to note down.
SELFCHECK_UNUSED static void selfcheck_start_bystanders(void) {
  const char* wanted = getenv("CKPT_TEST_THREADS");
  int count = wanted ? atoi(wanted) - 1 : 0;
  if (count <= 0 || selfcheck_bystander_count) return;
  if (count > SELFCHECK_MAX_BYSTANDERS) FAIL("CKPT_TEST_THREADS is too large");
  // Bystanders block everything (inherited), so that signals meant for the subject never land on
  // them.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 256 * 1024);
  for (int i = 0; i < count; i++)
    if (pthread_create(&selfcheck_bystanders[i], &attributes, selfcheck_bystander,
                       (void*)(uintptr_t)(i + 1)))
      FAIL("pthread_create");
  pthread_attr_destroy(&attributes);
  selfcheck_bystander_count = count;
  for (int started; (started = __atomic_load_n(&selfcheck_started, __ATOMIC_SEQ_CST)) < count;)
    futex(&selfcheck_started, FUTEX_WAIT_PRIVATE, started, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

SELFCHECK_UNUSED static void selfcheck_join_bystanders(void) {
  __atomic_store_n(&selfcheck_released, 1, __ATOMIC_SEQ_CST);
  futex(&selfcheck_released, FUTEX_WAKE_PRIVATE, 1 << 30, NULL);
  for (int i = 0; i < selfcheck_bystander_count; i++) {
    void* result = NULL;
    int error = pthread_join(selfcheck_bystanders[i], &result);
    CHECK(!error, "join of bystander %d: %s", i + 1, strerror(error));
    CHECK((uintptr_t)result == pattern(seed(), 1000 + (uint64_t)i + 1), "result of bystander %d",
          i + 1);
  }
  selfcheck_bystander_count = 0;
}

// ---- the protocol
// ------------------------------------------------------------------------------------------------

SELFCHECK_UNUSED static void ready(void) {
  seed();
  selfcheck_start_bystanders();
  say("READY %s", selfcheck_nonce);
}

// Reads one line from stdin (at most size-1 bytes) with single-byte reads; anything but one byte
// per call is a failure.
SELFCHECK_UNUSED static void wait_line_into(char* line, size_t size) {
  size_t length = 0;
  for (;;) {
    char byte;
    errno = 0;
    ssize_t got = read(0, &byte, 1);
    CHECK(got == 1, "read(stdin) returned %zd: %s", got, got < 0 ? strerror(errno) : "end of file");
    if (byte == '\n') break;
    if (length + 1 < size) line[length++] = byte;
  }
  if (size) line[length] = 0;
}

SELFCHECK_UNUSED static void wait_line(void) { wait_line_into(NULL, 0); }

SELFCHECK_UNUSED static int pass(void) {
  selfcheck_join_bystanders();
  say("PASS %s", selfcheck_nonce);
  return 0;
}

SELFCHECK_UNUSED static uint64_t now_ns(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (uint64_t)time.tv_sec * 1000000000ULL + (uint64_t)time.tv_nsec;
}
