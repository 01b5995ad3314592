// usage: thr_cleanup. Threads that are cancelled after the save in the call that they waited in at
// the save: their cleanup handlers run, with the locks they are to have. Robust mutexes of several
// owners that die after the save, one after the other, with a thread waiting for each.
#include "thr.h"

#include <semaphore.h>

enum { CALLS = 6, OWNERS = 5, EACH = 3 };
static int input[2], cleaned[CALLS];
static sem_t semaphore;
static pthread_mutex_t mutex, robust[OWNERS][EACH], before;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pthread_t waiting_for;

static void clean(void* argument) {
  long call = (long)argument;
  cleaned[call]++;
  if (call == 2 || call == 3) {  // a condition variable: with its mutex
    IS(pthread_mutex_lock(&mutex), EDEADLK);
    OK(pthread_mutex_unlock(&mutex));
  }
}

static void* waits(void* argument) {
  long call = (long)argument;
  char byte;
  struct timespec time = {3600, 0}, end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += 3600;
  pthread_cleanup_push(clean, argument);
  if (call == 2 || call == 3) OK(pthread_mutex_lock(&mutex));
  thr_arrive();
  switch (call) {
    case 0: MUST(read(input[0], &byte, 1)); break;
    case 1: MUST(sem_wait(&semaphore)); break;
    case 2: OK(pthread_cond_wait(&condition, &mutex)); break;
    case 3: OK(pthread_cond_timedwait(&condition, &mutex, &end)); break;
    case 4: OK(pthread_join(waiting_for, NULL)); break;
    default: OK(clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL)); break;
  }
  FAIL("thread %ld has come back from its call", call);
  pthread_cleanup_pop(1);
  return NULL;
}

static void* sleeps(void* unused) {
  thr_arrive();
  thr_pass_gate(1);
  return unused;
}

static void make(pthread_mutex_t* one, int type, int is_robust, int protocol) {
  pthread_mutexattr_t attributes;
  OK(pthread_mutexattr_init(&attributes));
  OK(pthread_mutexattr_settype(&attributes, type));
  if (is_robust) OK(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
  OK(pthread_mutexattr_setprotocol(&attributes, protocol));
  OK(pthread_mutex_init(one, &attributes));
}

static void* owns(void* argument) {
  long owner = (long)argument;
  for (int i = 0; i < EACH; i++) OK(pthread_mutex_lock(&robust[owner][i]));
  thr_arrive();
  thr_pass_gate((int)owner + 2);
  OK(pthread_mutex_unlock(&robust[owner][1]));  // out of the middle of its list
  OK(pthread_mutex_lock(&robust[owner][1]));
  return NULL;  // with all of them
}

static void* inherits(void* argument) {
  long owner = (long)argument;
  thr_arrive();
  IS(pthread_mutex_lock(&robust[owner][0]), EOWNERDEAD);
  OK(pthread_mutex_consistent(&robust[owner][0]));
  OK(pthread_mutex_unlock(&robust[owner][0]));
  OK(pthread_mutex_lock(&robust[owner][0]));
  OK(pthread_mutex_unlock(&robust[owner][0]));
  IS(pthread_mutex_lock(&robust[owner][1]), EOWNERDEAD);
  OK(pthread_mutex_unlock(&robust[owner][1]));  // without having made it consistent
  IS(pthread_mutex_lock(&robust[owner][1]), ENOTRECOVERABLE);
  return NULL;
}

static void* dies_early(void* unused) {
  OK(pthread_mutex_lock(&before));
  return unused;
}

int main(void) {
  pthread_t threads[CALLS], owners[OWNERS], heirs[OWNERS], early;
  void* result;
  MUST(pipe(input));
  MUST(sem_init(&semaphore, 0, 0));
  make(&mutex, PTHREAD_MUTEX_ERRORCHECK, 0, PTHREAD_PRIO_NONE);
  make(&before, PTHREAD_MUTEX_NORMAL, 1, PTHREAD_PRIO_NONE);
  for (int i = 0; i < OWNERS; i++)
    for (int j = 0; j < EACH; j++)
      make(&robust[i][j], PTHREAD_MUTEX_ERRORCHECK, 1,
           (i + j) % 2 ? PTHREAD_PRIO_INHERIT : PTHREAD_PRIO_NONE);
  OK(pthread_create(&early, NULL, dies_early, NULL));
  OK(pthread_join(early, NULL));
  OK(pthread_create(&waiting_for, NULL, sleeps, NULL));
  for (long i = 0; i < CALLS; i++) OK(pthread_create(&threads[i], NULL, waits, (void*)i));
  for (long i = 0; i < OWNERS; i++) OK(pthread_create(&owners[i], NULL, owns, (void*)i));
  thr_wait_arrived(1 + CALLS + OWNERS);
  for (long i = 0; i < OWNERS; i++) OK(pthread_create(&heirs[i], NULL, inherits, (void*)i));
  thr_wait_arrived(1 + CALLS + 2 * OWNERS);
  ready();
  wait_line();
  for (int i = 0; i < CALLS; i++) {
    OK(pthread_cancel(threads[i]));
    OK(pthread_join(threads[i], &result));
    CHECK(result == PTHREAD_CANCELED && cleaned[i] == 1, "thread %d: cleaned up %d times", i,
          cleaned[i]);
  }
  OK(pthread_mutex_lock(&mutex));
  OK(pthread_mutex_unlock(&mutex));
  thr_open_gate(1);
  OK(pthread_join(waiting_for, NULL));
  for (int i = 0; i < OWNERS; i++) {
    for (int j = 0; j < EACH; j++) IS(pthread_mutex_trylock(&robust[i][j]), EBUSY);
    thr_open_gate(i + 2);
    OK(pthread_join(owners[i], NULL));
    OK(pthread_join(heirs[i], NULL));
    IS(pthread_mutex_trylock(&robust[i][2]), EOWNERDEAD);
    OK(pthread_mutex_consistent(&robust[i][2]));
    OK(pthread_mutex_unlock(&robust[i][2]));
  }
  IS(pthread_mutex_lock(&before), EOWNERDEAD);
  OK(pthread_mutex_consistent(&before));
  OK(pthread_mutex_unlock(&before));
  return pass();
}
