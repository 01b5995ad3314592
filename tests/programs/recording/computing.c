// Threads that compute for long without a system call, in loops of a few instructions, while a timer's
// signal comes: each stop by force and each signal is at a place that is passed millions of times.
// ckpt-build: no-nopie no-static
// ckpt-cflags: -O1
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/time.h>

enum { THREADS = 2 };
static volatile sig_atomic_t alarms;

static void on_alarm(int number) {
  (void)number;
  ++alarms;
}

static void* body(void* argument) {
  uint64_t state = (uintptr_t)argument;
  do {
    for (long i = 0; i < 100000000; ++i) state = state * 2862933555777941757UL + 3037000493UL;
  } while (alarms < 3);
  return (void*)(uintptr_t)state;
}

int main(void) {
  struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  const struct itimerval timer = {{0, 70000}, {0, 70000}};
  setitimer(ITIMER_REAL, &timer, NULL);
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; ++i)
    pthread_create(&threads[i], NULL, body, (void*)(intptr_t)(i + 1));
  uint64_t sum = 0;
  for (int i = 0; i < THREADS; ++i) {
    void* state = NULL;
    pthread_join(threads[i], &state);
    sum ^= (uintptr_t)state;
  }
  const struct itimerval never = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &never, NULL);
  printf("%lx %d\n", sum, (int)alarms);
  return 0;
}
