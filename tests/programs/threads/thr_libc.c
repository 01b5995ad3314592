// usage: thr_libc. What a C library does by ids of its own: it finds the calling thread, signals
// threads, and knows the owners of mutexes and of stdio's files. Nothing here is special to one
// library: tests/integration/test_musl.py compiles it with musl. The line "new ids" lets it go on
// where it is not to see those that it remembers.
#include "thr.h"

#include <sys/wait.h>

static pthread_mutex_t recursive, checked, robust, inheriting;
static int main_tid, worker_tid, signals, renewed, ends[2];
static pthread_t worker, reader;
static FILE* pipe_file;

static void count(int number) {
  (void)number;
  __atomic_add_fetch(&signals, 1, __ATOMIC_SEQ_CST);
}

static void make(pthread_mutex_t* mutex, int type, int robustness, int protocol) {
  pthread_mutexattr_t attributes;
  OK(pthread_mutexattr_init(&attributes));
  OK(pthread_mutexattr_settype(&attributes, type));
  OK(pthread_mutexattr_setrobust(&attributes, robustness));
  OK(pthread_mutexattr_setprotocol(&attributes, protocol));
  OK(pthread_mutex_init(mutex, &attributes));
  OK(pthread_mutex_lock(mutex));
}

static void make_all(void) {
  make(&recursive, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE);
  make(&checked, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE);
  make(&robust, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_NONE);
  make(&inheriting, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_INHERIT);
}

// As the owner: again, and give back all.
static void give_back(void) {
  OK(pthread_mutex_lock(&recursive));
  OK(pthread_mutex_unlock(&recursive));
  OK(pthread_mutex_unlock(&recursive));
  IS(pthread_mutex_lock(&checked), EDEADLK);
  OK(pthread_mutex_unlock(&checked));
  IS(pthread_mutex_lock(&robust), EDEADLK);
  OK(pthread_mutex_unlock(&robust));
  IS(pthread_mutex_lock(&inheriting), EDEADLK);
  OK(pthread_mutex_unlock(&inheriting));
  IS(pthread_mutex_unlock(&checked), EPERM);
}

static void* work(void* unused) {
  worker_tid = thr_id();
  make_all();
  flockfile(stderr);
  thr_arrive();
  thr_pass_gate(1);
  if (renewed) worker_tid = thr_id();
  CHECK(thr_id() == worker_tid, "the worker's id is %d, was %d", thr_id(), worker_tid);
  CHECK(!raise(SIGUSR1), "raise: %s", strerror(errno));
  CHECK(signals == 1, "%d signals", signals);
  IS(pthread_kill(pthread_self(), SIGUSR1), 0);
  CHECK(signals == 2, "%d signals", signals);
  give_back();
  flockfile(stderr);  // the owner's again
  funlockfile(stderr);
  funlockfile(stderr);
  return unused;
}

// Waits in stdio with a file's lock in hand; what it holds is its own when it has read.
static void* read_line(void* unused) {
  char line[16];
  thr_arrive();
  CHECK(fgets(line, sizeof line, pipe_file) && !strcmp(line, "line\n"), "fgets");
  return unused;
}

static void until_ended(pid_t child, int wanted, const char* what) {
  int status = 0;
  const pid_t got = waitpid(child, &status, 0);
  CHECK(got == child, "%s: waitpid gives %d: %s", what, got, strerror(errno));
  CHECK(status == wanted, "%s: status %x", what, status);
}

int main(void) {
  struct sigaction action = {.sa_handler = count};
  main_tid = thr_id();
  CHECK(main_tid == getpid(), "the main thread's id");
  MUST(sigaction(SIGUSR1, &action, NULL));
  MUST(pipe(ends));
  CHECK((pipe_file = fdopen(ends[0], "r")), "fdopen");
  OK(pthread_create(&worker, NULL, work, NULL));
  OK(pthread_create(&reader, NULL, read_line, NULL));
  thr_wait_arrived(2);
  ready();
  char line[16];
  wait_line_into(line, sizeof line);
  renewed = !strcmp(line, "new ids");
  if (renewed) main_tid = thr_id();
  CHECK(thr_id() == main_tid && getpid() == main_tid, "ids %d %d", thr_id(), getpid());
  // Somebody else's.
  IS(pthread_mutex_trylock(&recursive), EBUSY);
  IS(pthread_mutex_unlock(&checked), EPERM);
  CHECK(ftrylockfile(stderr), "it takes a lock that is held");
  thr_open_gate(1);
  OK(pthread_join(worker, NULL));
  CHECK(!ftrylockfile(stderr), "stderr is held");
  CHECK(ftrylockfile(pipe_file), "it takes a lock that is held");
  CHECK(write(ends[1], "line\n", 5) == 5, "write");
  OK(pthread_join(reader, NULL));
  CHECK(!ftrylockfile(pipe_file), "the pipe's file is held");
  CHECK(!kill(main_tid, SIGUSR1) && !raise(SIGUSR1), "kill: %s", strerror(errno));
  CHECK(signals == 4, "%d signals", signals);
  pid_t child;
  MUST(child = fork());
  if (!child) {
    signal(SIGABRT, SIG_DFL);
    abort();
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
        "abort: status %x", status);
  MUST(child = fork());
  if (!child) _exit(getppid() == main_tid ? 7 : 8);
  until_ended(child, 7 << 8, "a child");
  return pass();
}
