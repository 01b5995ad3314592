// Signals of every origin: a timer's while the program makes calls and while it sleeps in one, its
// own, another thread's, one from a fault, and one that ends a call that is not made again.
// ckpt-build: no-nopie
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t alarms, own, sent;
static volatile unsigned long work, seen[8];
static sigjmp_buf behind_fault;

static void on_alarm(int number) {
  (void)number;
  seen[alarms++ & 7] = work;
}
static void on_own(int number) {
  (void)number;
  ++own;
}
static void on_sent(int number) {
  (void)number;
  ++sent;
}
static void on_fault(int number) {
  (void)number;
  siglongjmp(behind_fault, 1);
}

static void handle(int number, void (*handler)(int), int flags) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
  sigaction(number, &action, NULL);
}

static void* sleeper(void* argument) {
  (void)argument;
  while (sent == 0) pause();
  return NULL;
}

int main(void) {
  handle(SIGALRM, on_alarm, SA_RESTART);
  handle(SIGUSR1, on_own, 0);
  handle(SIGUSR2, on_sent, 0);
  handle(SIGSEGV, on_fault, 0);
  const struct itimerval timer = {{0, 5000}, {0, 5000}};
  setitimer(ITIMER_REAL, &timer, NULL);
  while (alarms < 5) {
    for (int i = 0; i < 100; ++i) work = work * 2862933555777941757UL + 3037000493UL;
    getppid();
  }
  raise(SIGUSR1);
  int interrupted = 0;
  const struct timespec nap = {0, 60000000};
  struct timespec left = nap;
  while (nanosleep(&left, &left) != 0 && errno == EINTR) ++interrupted;
  const struct itimerval never = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &never, NULL);
  pthread_t thread;
  pthread_create(&thread, NULL, sleeper, NULL);
  while (sent == 0) {
    pthread_kill(thread, SIGUSR2);
    usleep(1000);
  }
  pthread_join(thread, NULL);
  if (sigsetjmp(behind_fault, 1) == 0) *(volatile int*)(alarms > 0 ? 8UL : 16UL) = 1;
  unsigned long digest = 0;
  for (int i = 0; i < 8; ++i) digest ^= seen[i];
  printf("%d %d %d %lx\n", (int)alarms, (int)own, interrupted, digest);
  return 0;
}
