// Signals that are blocked and pending at the save: for the process and for one thread, in order,
// with their values and codes. A second pending instance of an ordinary signal is dropped by the
// kernel, real-time ones queue up.
#include "selfcheck.h"

#include <sys/time.h>

static pthread_t other;
static int started, released;

static void expect(const sigset_t* set, int number, int code, int value, const char* who) {
  siginfo_t info;
  struct timespec none = {0, 0};
  memset(&info, 0, sizeof info);
  // Not glibc's wrapper: it folds SI_TKILL into SI_USER.
  int got = (int)syscall(SYS_rt_sigtimedwait, set, &info, &none, 8);
  CHECK(got == number, "%s: signal %d, expected %d (%s)", who, got, number,
        got < 0 ? strerror(errno) : "");
  CHECK(info.si_code == code, "%s: signal %d has code %d, expected %d", who, number, info.si_code,
        code);
  if (code == SI_QUEUE)
    CHECK(info.si_value.sival_int == value, "%s: signal %d has value %d, expected %d", who, number,
          info.si_value.sival_int, value);
  if (code == SI_QUEUE || code == SI_USER)
    CHECK(info.si_uid == getuid(), "%s: si_uid %d", who, (int)info.si_uid);
}

static void expect_none(const sigset_t* set, const char* who) {
  struct timespec none = {0, 0};
  int got = sigtimedwait(set, NULL, &none);
  CHECK(got == -1 && errno == EAGAIN, "%s: signal %d comes from nowhere", who, got);
}

static void* second(void* unused) {
  sigset_t mine;
  sigemptyset(&mine);
  sigaddset(&mine, SIGRTMIN + 4);
  sigaddset(&mine, SIGUSR2);
  __atomic_store_n(&started, 1, __ATOMIC_SEQ_CST);
  while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST))
    futex(&released, FUTEX_WAIT_PRIVATE, 0, NULL);
  expect(&mine, SIGUSR2, SI_TKILL, 0, "second thread");
  expect(&mine, SIGRTMIN + 4, SI_QUEUE, 31, "second thread");
  expect(&mine, SIGRTMIN + 4, SI_QUEUE, 32, "second thread");
  expect_none(&mine, "second thread");
  return unused;
}

int main(void) {
  seed();
  sigset_t all, set;
  sigfillset(&all);
  MUST(sigprocmask(SIG_SETMASK, &all, NULL));
  CHECK(!pthread_create(&other, NULL, second, NULL), "pthread_create");
  while (!__atomic_load_n(&started, __ATOMIC_SEQ_CST)) sched_yield();

  for (int i = 1; i <= 3; i++)
    MUST(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 20 + i}));
  MUST(kill(getpid(), SIGUSR1));
  MUST(kill(getpid(), SIGUSR1));  // merged with the first
  CHECK(!pthread_sigqueue(pthread_self(), SIGRTMIN + 6, (union sigval){.sival_int = 77}),
        "pthread_sigqueue");
  CHECK(!pthread_sigqueue(other, SIGRTMIN + 4, (union sigval){.sival_int = 31}),
        "pthread_sigqueue");
  CHECK(!pthread_sigqueue(other, SIGRTMIN + 4, (union sigval){.sival_int = 32}),
        "pthread_sigqueue");
  CHECK(!pthread_kill(other, SIGUSR2), "pthread_kill");
  // One that comes from the kernel (its code is positive, and rt_sigqueueinfo takes such codes only
  // from the process itself): the expired interval timer's SIGALRM. The timer itself is disarmed by
  // then.
  struct itimerval soon = {.it_value = {.tv_usec = 1}};
  MUST(setitimer(ITIMER_REAL, &soon, NULL));
  do MUST(sigpending(&set));
  while (!sigismember(&set, SIGALRM));

  ready();
  wait_line();

  MUST(sigpending(&set));
  for (int s = 1; s < 65; s++) {
    int wanted = s == SIGALRM || s == SIGUSR1 || s == SIGRTMIN + 3 || s == SIGRTMIN + 6;
    if (s != 32 && s != 33)
      CHECK(sigismember(&set, s) == wanted, "pending: signal %d is %d", s, !wanted);
  }
  sigset_t mine;
  sigemptyset(&mine);
  sigaddset(&mine, SIGALRM);
  sigaddset(&mine, SIGUSR1);
  sigaddset(&mine, SIGRTMIN + 3);
  sigaddset(&mine, SIGRTMIN + 6);
  // The thread's own queue comes first, then the process's, each by number.
  expect(&mine, SIGRTMIN + 6, SI_QUEUE, 77, "main thread");
  expect(&mine, SIGUSR1, SI_USER, 0, "process");
  expect(&mine, SIGALRM, SI_KERNEL, 0, "process");
  for (int i = 1; i <= 3; i++) expect(&mine, SIGRTMIN + 3, SI_QUEUE, 20 + i, "process");
  expect_none(&mine, "process");
  __atomic_store_n(&released, 1, __ATOMIC_SEQ_CST);
  futex(&released, FUTEX_WAKE_PRIVATE, 1, NULL);
  CHECK(!pthread_join(other, NULL), "pthread_join");
  return pass();
}
