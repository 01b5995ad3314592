// usage: storm [strict]. A storm, for savers that come and die at any moment: threads are made and
// end, children are forked and waited for, memory is mapped, protected and unmapped, and signals
// fly, of a timer and queued ones that are counted. Each part checks itself all the time.
//
// `strict`: no queued signal may be lost. One that GDB has taken when it is killed is.
//
// A child that runs at a save is killed in the restored program. Where the wait for it was under way
// it may also fail with ECHILD.
#include "selfcheck.h"

#include <sys/time.h>
#include <sys/wait.h>

enum { MAPPERS = 2, LEAST = 20 };
static int stop, strict;
static uint64_t mapped, forked, joined, sent, handled, ticks;

static uint64_t read_count(const uint64_t* count) {
  return __atomic_load_n(count, __ATOMIC_SEQ_CST);
}
static void add(uint64_t* count) { __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST); }
static int going(void) { return !__atomic_load_n(&stop, __ATOMIC_SEQ_CST); }

static void* map(void* argument) {
  const size_t bytes = 64 << 10;
  for (uint64_t seed = (uint64_t)(uintptr_t)argument; going(); seed++) {
    char* at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED, "mmap: %s", strerror(errno));
    fill(at, bytes, seed);
    CHECK(!mprotect(at + bytes / 4, bytes / 4, PROT_READ), "mprotect: %s", strerror(errno));
    CHECK(!madvise(at + bytes / 2, bytes / 4, MADV_DONTNEED), "madvise: %s", strerror(errno));
    CHECK(first_difference(at, bytes / 2, seed) < 0, "mapped memory");
    CHECK(first_nonzero(at + bytes / 2, bytes / 4) < 0, "memory that was given back");
    CHECK(!munmap(at, bytes), "munmap: %s", strerror(errno));
    add(&mapped);
  }
  return NULL;
}

static void* fork_children(void* unused) {
  int lost = 0;
  while (going()) {
    pid_t child = fork();
    CHECK(child >= 0, "fork: %s", strerror(errno));
    if (child == 0) _exit(42);
    int status = 0;
    pid_t got;
    do got = waitpid(child, &status, 0);
    while (got < 0 && errno == EINTR);
    CHECK(got == child || errno == ECHILD, "waitpid: %s", strerror(errno));
    if (got == child && WIFEXITED(status) && WEXITSTATUS(status) == 42) {
      add(&forked);
      continue;
    }
    CHECK(got != child || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL), "status %x", status);
    CHECK(!strict && !lost++, "a second child was lost");
  }
  return unused;
}

static void* short_lived(void* argument) { return argument; }

static void* make_threads(void* unused) {
  while (going()) {
    pthread_t thread;
    void* got = NULL;
    int error = pthread_create(&thread, NULL, short_lived, &joined);
    CHECK(!error, "pthread_create: %s", strerror(error));
    error = pthread_join(thread, &got);
    CHECK(!error && got == &joined, "pthread_join: %s", strerror(error));
    add(&joined);
  }
  return unused;
}

static void on_queued(int signal) {
  (void)signal;
  add(&handled);
}

static void on_tick(int signal) {
  (void)signal;
  add(&ticks);
}

// Queued to this thread alone, so that none is lost and each is counted when the call is over.
static void* send_signals(void* unused) {
  const union sigval value = {0};
  while (going()) {
    int error = pthread_sigqueue(pthread_self(), SIGRTMIN + 3, value);
    CHECK(!error, "pthread_sigqueue: %s", strerror(error));
    add(&sent);
    if (read_count(&sent) == read_count(&handled)) continue;
    CHECK(!strict, "a queued signal");
    __atomic_store_n(&sent, read_count(&handled), __ATOMIC_SEQ_CST);
  }
  return unused;
}

static int all_beyond(uint64_t least) {
  return read_count(&mapped) > least && read_count(&forked) > least &&
         read_count(&joined) > least && read_count(&sent) > least && read_count(&ticks) > 0;
}

int main(int argc, char** argv) {
  pthread_t threads[MAPPERS + 3];
  strict = argc > 1 && !strcmp(argv[1], "strict");
  void* (*const parts[])(void*) = {fork_children, make_threads, send_signals};
  struct sigaction action = {.sa_handler = on_queued, .sa_flags = SA_RESTART};
  MUST(sigaction(SIGRTMIN + 3, &action, NULL));
  action.sa_handler = on_tick;
  MUST(sigaction(SIGALRM, &action, NULL));
  for (int i = 0; i < MAPPERS + 3; i++) {
    void* (*part)(void*) = i < MAPPERS ? map : parts[i - MAPPERS];
    CHECK(!pthread_create(&threads[i], NULL, part, (void*)(uintptr_t)(i + 1)), "pthread_create");
  }
  sigset_t timer;
  sigemptyset(&timer);
  sigaddset(&timer, SIGALRM);
  pthread_sigmask(SIG_BLOCK, &timer, NULL);  // the other threads get it
  const struct itimerval often = {{0, 2000}, {0, 2000}};
  MUST(setitimer(ITIMER_REAL, &often, NULL));
  while (!all_beyond(LEAST)) sched_yield();
  ready();
  wait_line();
  uint64_t had = read_count(&mapped) + read_count(&forked) + read_count(&joined);
  while (!all_beyond(LEAST + 1)) sched_yield();
  while (read_count(&mapped) + read_count(&forked) + read_count(&joined) < had + LEAST)
    sched_yield();
  __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
  for (int i = 0; i < MAPPERS + 3; i++) CHECK(!pthread_join(threads[i], NULL), "pthread_join");
  return pass();
}
