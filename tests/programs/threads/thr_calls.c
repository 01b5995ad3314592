// usage: thr_calls. Calls about a thread that was there at the save: scheduling, names, affinity,
// clocks, attributes, signals with and without a value, all forms of join, detach.
#include "thr.h"

static pthread_t workers[4];
static volatile sig_atomic_t plain, valued;

static void on_plain(int number) { (void)number, plain++; }
static void on_valued(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  if (info->si_code == SI_QUEUE && info->si_value.sival_int == 4711) valued++;
}

static void* work(void* argument) {
  long index = (long)argument;
  thr_arrive();
  thr_pass_gate(1);
  volatile unsigned spin = 0;
  while (index == 0 && spin < 3000000) spin++;  // some CPU time on this thread's clock
  thr_arrive();
  thr_pass_gate((int)index + 2);
  return (void*)(index + 100);
}

static void wait_for(volatile sig_atomic_t* flag, const char* what) {
  // The handler runs on another thread: its wake-up is the signal itself, so look again and again.
  for (long i = 0; i < 1000000000L && !*flag; i++) sched_yield();
  CHECK(*flag == 1, "%s: %d signals", what, (int)*flag);
}

int main(void) {
  struct sigaction one = {.sa_handler = on_plain}, two = {.sa_sigaction = on_valued};
  one.sa_flags = SA_RESTART, two.sa_flags = SA_SIGINFO | SA_RESTART;
  MUST(sigaction(SIGUSR1, &one, NULL));
  MUST(sigaction(SIGRTMIN + 2, &two, NULL));
  pthread_t self = pthread_self();
  for (long i = 0; i < 4; i++) OK(pthread_create(&workers[i], NULL, work, (void*)i));
  thr_wait_arrived(4);
  clockid_t before, now;
  OK(pthread_getcpuclockid(workers[0], &before));
  ready();
  wait_line();

  CHECK(pthread_equal(self, pthread_self()) && !pthread_equal(self, workers[0]), "pthread_self");
  int policy = -1;
  struct sched_param parameter = {0};
  for (int i = 0; i < 4; i++) {
    OK(pthread_getschedparam(workers[i], &policy, &parameter));
    CHECK(policy == SCHED_OTHER, "policy %d", policy);
  }
  OK(pthread_setschedparam(workers[1], SCHED_BATCH, &parameter));
  OK(pthread_getschedparam(workers[1], &policy, &parameter));
  CHECK(policy == SCHED_BATCH, "policy %d after setting it", policy);
  OK(pthread_getschedparam(workers[2], &policy, &parameter));
  CHECK(policy == SCHED_OTHER, "the policy of another thread was set");
  OK(pthread_setschedprio(workers[1], 0));

  char name[16];
  OK(pthread_setname_np(workers[2], "renamed"));
  OK(pthread_getname_np(workers[2], name, sizeof name));
  CHECK(!strcmp(name, "renamed"), "name %s", name);
  cpu_set_t set;
  OK(pthread_getaffinity_np(workers[3], sizeof set, &set));
  int first = 0;
  while (!CPU_ISSET(first, &set)) first++;
  CPU_ZERO(&set);
  CPU_SET(first, &set);
  OK(pthread_setaffinity_np(workers[3], sizeof set, &set));
  OK(pthread_getaffinity_np(workers[3], sizeof set, &set));
  CHECK(CPU_COUNT(&set) == 1 && CPU_ISSET(first, &set), "affinity");
  pthread_attr_t attributes;
  void* stack;
  size_t bytes;
  OK(pthread_getattr_np(workers[3], &attributes));
  OK(pthread_attr_getstack(&attributes, &stack, &bytes));
  CHECK(stack && bytes >= 16384, "stack of %zu bytes", bytes);
  OK(pthread_getattr_np(self, &attributes));
  OK(pthread_attr_getstack(&attributes, &stack, &bytes));
  CHECK((char*)&bytes > (char*)stack && (char*)&bytes < (char*)stack + bytes, "own stack");

  OK(pthread_getcpuclockid(workers[0], &now));
  struct timespec time;
  MUST(clock_gettime(now, &time));
  thr_open_gate(1);
  thr_wait_arrived(8);
  struct timespec later;
  MUST(clock_gettime(now, &later));
  CHECK(later.tv_sec > time.tv_sec || later.tv_nsec > time.tv_nsec,
        "the thread's clock stands still");

  OK(pthread_kill(workers[2], SIGUSR1));
  wait_for(&plain, "pthread_kill");
  OK(pthread_sigqueue(workers[3], SIGRTMIN + 2, (union sigval){.sival_int = 4711}));
  wait_for(&valued, "pthread_sigqueue");
  OK(pthread_kill(workers[1], 0));

  void* result = NULL;
  IS(pthread_tryjoin_np(workers[0], &result), EBUSY);
  struct timespec soon;
  clock_gettime(CLOCK_REALTIME, &soon);
  IS(pthread_timedjoin_np(workers[0], &result, &soon), ETIMEDOUT);
  thr_open_gate(2);
  OK(pthread_join(workers[0], &result));
  CHECK(result == (void*)100, "result of the first");
  thr_open_gate(3);
  clock_gettime(CLOCK_REALTIME, &soon);
  soon.tv_sec += 60;
  OK(pthread_timedjoin_np(workers[1], &result, &soon));
  CHECK(result == (void*)101, "result of the second");
  OK(pthread_detach(workers[2]));
  IS(pthread_join(workers[2], &result), EINVAL);
  thr_open_gate(5);
  OK(pthread_join(workers[3], &result));
  CHECK(result == (void*)103, "result of the fourth");
  IS(pthread_join(pthread_self(), &result), EDEADLK);
  return pass();
}
