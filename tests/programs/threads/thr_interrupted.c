// usage: thr_interrupted. Threads that wait for locks have got a signal, and are in its handler at
// the save: some on their own stack, some on an alternate one, one in a handler within a handler.
// When the handlers return after a restore, the lock functions go on with the right id.
#include "thr.h"

enum { LOCKS = 4, EACH = 3, COUNT = LOCKS * EACH };
static pthread_mutex_t mutexes[3];  // recursive, error-checking and robust, inheriting
static pthread_rwlock_t rwlock;
static int waiting[COUNT];
static char stacks[COUNT][65536];

static void handler(int number) {
  thr_arrive();
  if (number == SIGUSR1) raise(SIGUSR2);
  thr_pass_gate(1);
}

static void make(pthread_mutex_t* mutex, int type, int is_robust, int protocol) {
  pthread_mutexattr_t attributes;
  OK(pthread_mutexattr_init(&attributes));
  OK(pthread_mutexattr_settype(&attributes, type));
  if (is_robust) OK(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
  OK(pthread_mutexattr_setprotocol(&attributes, protocol));
  OK(pthread_mutex_init(mutex, &attributes));
}

static void* work(void* argument) {
  long index = (long)argument, lock = index % LOCKS;
  if (index / LOCKS == 1) {
    stack_t stack = {.ss_sp = stacks[index], .ss_size = sizeof stacks[index]};
    MUST(sigaltstack(&stack, NULL));
  }
  waiting[index] = thr_id();
  thr_arrive();
  if (lock == 3) {
    OK(pthread_rwlock_wrlock(&rwlock));
    IS(pthread_rwlock_wrlock(&rwlock), EDEADLK);
    OK(pthread_rwlock_unlock(&rwlock));
    return NULL;
  }
  OK(pthread_mutex_lock(&mutexes[lock]));
  if (lock == 0) {
    OK(pthread_mutex_lock(&mutexes[lock]));
    OK(pthread_mutex_unlock(&mutexes[lock]));
  } else {
    IS(pthread_mutex_lock(&mutexes[lock]), EDEADLK);
  }
  OK(pthread_mutex_unlock(&mutexes[lock]));
  IS(pthread_mutex_unlock(&mutexes[lock]), EPERM);
  return NULL;
}

// Until the kernel says that the thread sleeps.
static void wait_asleep(int thread) {
  char path[64], state = 0;
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
  while (state != 'S') {
    FILE* file = fopen(path, "r");
    CHECK(file && fscanf(file, "%*d (%*[^)]) %c", &state) == 1, "%s", path);
    fclose(file);
  }
}

int main(void) {
  pthread_t threads[COUNT];
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART | SA_ONSTACK};
  MUST(sigaction(SIGUSR1, &action, NULL));
  MUST(sigaction(SIGUSR2, &action, NULL));
  make(&mutexes[0], PTHREAD_MUTEX_RECURSIVE, 0, PTHREAD_PRIO_NONE);
  make(&mutexes[1], PTHREAD_MUTEX_ERRORCHECK, 1, PTHREAD_PRIO_NONE);
  make(&mutexes[2], PTHREAD_MUTEX_ERRORCHECK, 0, PTHREAD_PRIO_INHERIT);
  OK(pthread_rwlock_init(&rwlock, NULL));
  for (int i = 0; i < 3; i++) OK(pthread_mutex_lock(&mutexes[i]));
  OK(pthread_rwlock_rdlock(&rwlock));
  for (long i = 0; i < COUNT; i++) OK(pthread_create(&threads[i], NULL, work, (void*)i));
  thr_wait_arrived(COUNT);
  for (int i = 0; i < COUNT; i++) wait_asleep(waiting[i]);
  int arrived = COUNT;
  for (int i = 0; i < COUNT; i++) {
    int nested = i / LOCKS == 2;
    OK(pthread_kill(threads[i], nested ? SIGUSR1 : SIGUSR2));
    arrived += nested ? 2 : 1;
  }
  thr_wait_arrived(arrived);
  ready();
  wait_line();
  thr_open_gate(1);
  for (int i = 0; i < 3; i++) OK(pthread_mutex_unlock(&mutexes[i]));
  OK(pthread_rwlock_unlock(&rwlock));
  for (int i = 0; i < COUNT; i++) OK(pthread_join(threads[i], NULL));
  return pass();
}
