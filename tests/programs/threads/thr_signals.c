// usage: thr_signals. Threads that send themselves one signal after the other and count them, so
// that a save finds one just being delivered: queued ones with a value each, in their order; plain
// ones; and ones that only the mask of sigsuspend lets in.
#include "thr.h"

enum { QUEUED, PLAIN, SUSPENDED, KINDS, LEAST = 100 };
static volatile int stop;
static volatile unsigned long sent[KINDS], handled[KINDS];

static void on_queued(int signal, siginfo_t* info, void* unused) {
  (void)signal, (void)unused;
  CHECK(info->si_code == SI_QUEUE, "si_code %d", info->si_code);
  CHECK((unsigned long)info->si_value.sival_ptr == handled[QUEUED], "value %p after %lu",
        info->si_value.sival_ptr, handled[QUEUED]);
  handled[QUEUED]++;
}

static void on_plain(int signal) { handled[signal == SIGUSR1 ? PLAIN : SUSPENDED]++; }

static void send_one(int kind) {
  const union sigval value = {.sival_ptr = (void*)sent[kind]};
  switch (kind) {
    case QUEUED: OK(pthread_sigqueue(pthread_self(), SIGRTMIN + 3, value)); break;
    case PLAIN: OK(pthread_kill(pthread_self(), SIGUSR1)); break;
    default: OK(pthread_kill(pthread_self(), SIGUSR2));
  }
}

static void* work(void* argument) {
  const int kind = (int)(long)argument;
  sigset_t usual, open;
  sigemptyset(&usual);
  if (kind == SUSPENDED) sigaddset(&usual, SIGUSR2);
  OK(pthread_sigmask(SIG_SETMASK, &usual, NULL));
  sigemptyset(&open);
  thr_arrive();
  while (!stop) {
    send_one(kind);
    sent[kind]++;
    if (kind == SUSPENDED) {
      CHECK(handled[kind] == sent[kind] - 1, "%lu handled of %lu", handled[kind], sent[kind]);
      CHECK(sigsuspend(&open) == -1 && errno == EINTR, "sigsuspend");
    }
    CHECK(handled[kind] == sent[kind], "kind %d: %lu handled of %lu", kind, handled[kind],
          sent[kind]);
  }
  return NULL;
}

int main(void) {
  pthread_t threads[KINDS];
  struct sigaction action = {.sa_sigaction = on_queued, .sa_flags = SA_RESTART | SA_SIGINFO};
  MUST(sigaction(SIGRTMIN + 3, &action, NULL));
  action = (struct sigaction){.sa_handler = on_plain, .sa_flags = SA_RESTART};
  MUST(sigaction(SIGUSR1, &action, NULL));
  MUST(sigaction(SIGUSR2, &action, NULL));
  for (long i = 0; i < KINDS; i++) OK(pthread_create(&threads[i], NULL, work, (void*)i));
  thr_wait_arrived(KINDS);
  ready();
  wait_line();
  unsigned long before[KINDS];
  for (int i = 0; i < KINDS; i++) before[i] = handled[i];
  for (int i = 0; i < KINDS; i++)
    while (handled[i] < before[i] + LEAST) sched_yield();
  stop = 1;
  for (int i = 0; i < KINDS; i++) OK(pthread_join(threads[i], NULL));
  return pass();
}
