// usage: thr_handles. Prints `THREAD id pthread_t` for each thread. One thread has
// told the kernel another address than the C library's to clear at its end (set_tid_address): the
// library's calls about that thread must reach it all the same.
#include "thr.h"

enum { COUNT = 4 };
static pthread_t threads[COUNT];
static int elsewhere = 5, ids[COUNT];
static volatile sig_atomic_t reached;

static void on_signal(int number) {
  (void)number;
  reached = thr_id();
}

static void* work(void* argument) {
  long index = (long)argument;
  int* library_field = NULL;
  ids[index] = thr_id();
  if (index == 0) {
    MUST(prctl(PR_GET_TID_ADDRESS, &library_field));
    MUST(syscall(SYS_set_tid_address, &elsewhere));
  }
  thr_arrive();
  thr_pass_gate(1);
  thr_arrive();
  thr_pass_gate(2);
  if (index == 0) {
    int* now = NULL;
    MUST(prctl(PR_GET_TID_ADDRESS, &now));
    CHECK(now == &elsewhere && elsewhere == 5, "the address of the program's own");
    MUST(syscall(SYS_set_tid_address, library_field));
  }
  return argument;
}

int main(void) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  MUST(sigaction(SIGUSR1, &action, NULL));
  for (long i = 0; i < COUNT; i++) OK(pthread_create(&threads[i], NULL, work, (void*)i));
  thr_wait_arrived(COUNT);
  ready();
  say("THREAD %d %#lx", thr_id(), (unsigned long)pthread_self());
  for (int i = 0; i < COUNT; i++) say("THREAD %d %#lx", ids[i], (unsigned long)threads[i]);
  wait_line();
  thr_open_gate(1);
  thr_wait_arrived(2 * COUNT);
  int policy;
  struct sched_param parameter;
  for (int i = 0; i < COUNT; i++) {
    reached = 0;
    OK(pthread_kill(threads[i], SIGUSR1));
    for (long n = 0; n < 1000000000L && !reached; n++) sched_yield();
    CHECK(reached == ids[i], "pthread_kill of thread %d reached %d", ids[i], (int)reached);
    OK(pthread_getschedparam(threads[i], &policy, &parameter));
  }
  thr_open_gate(2);
  for (int i = 0; i < COUNT; i++) OK(pthread_join(threads[i], NULL));
  return pass();
}
