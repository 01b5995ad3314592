// usage: thr_hammer. Threads that take and give locks all the time, of the kinds that remember
// their owner, so that a save finds them anywhere in between: with the lock word set and the owner
// not yet, or with the id in a register. They check at every step that the lock knows its owner.
#include "thr.h"

enum { THREADS = 4 };
static pthread_mutex_t own[THREADS], robust[THREADS], pi[THREADS], contended;
static pthread_rwlock_t rwlock[THREADS];
static volatile int stop;
static unsigned long rounds;

static void make(pthread_mutex_t* mutex, int type, int is_robust, int protocol) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_settype(&attributes, type);
  if (is_robust) pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutexattr_setprotocol(&attributes, protocol);
  OK(pthread_mutex_init(mutex, &attributes));
}

static void* work(void* argument) {
  long index = (long)argument;
  thr_arrive();
  while (!stop) {
    OK(pthread_mutex_lock(&own[index]));
    OK(pthread_mutex_lock(&own[index]));
    OK(pthread_mutex_unlock(&own[index]));
    OK(pthread_mutex_unlock(&own[index]));
    IS(pthread_mutex_unlock(&own[index]), EPERM);
    OK(pthread_mutex_lock(&robust[index]));
    OK(pthread_mutex_unlock(&robust[index]));
    OK(pthread_mutex_lock(&pi[index]));
    IS(pthread_mutex_lock(&pi[index]), EDEADLK);
    OK(pthread_mutex_unlock(&pi[index]));
    OK(pthread_rwlock_wrlock(&rwlock[index]));
    OK(pthread_rwlock_unlock(&rwlock[index]));
    OK(pthread_rwlock_rdlock(&rwlock[index]));
    OK(pthread_rwlock_unlock(&rwlock[index]));
    OK(pthread_mutex_lock(&contended));
    rounds++;
    OK(pthread_mutex_unlock(&contended));
  }
  return NULL;
}

int main(void) {
  pthread_t threads[THREADS];
  make(&contended, PTHREAD_MUTEX_ERRORCHECK, 0, PTHREAD_PRIO_NONE);
  for (long i = 0; i < THREADS; i++) {
    make(&own[i], PTHREAD_MUTEX_RECURSIVE, 0, PTHREAD_PRIO_NONE);
    make(&robust[i], PTHREAD_MUTEX_ERRORCHECK, 1, PTHREAD_PRIO_NONE);
    make(&pi[i], PTHREAD_MUTEX_ERRORCHECK, 0, PTHREAD_PRIO_INHERIT);
    OK(pthread_rwlock_init(&rwlock[i], NULL));
    OK(pthread_create(&threads[i], NULL, work, (void*)i));
  }
  thr_wait_arrived(THREADS);
  ready();
  wait_line();
  OK(pthread_mutex_lock(&contended));
  unsigned long before = rounds;
  OK(pthread_mutex_unlock(&contended));
  for (unsigned long now = before; now < before + 1000;) {
    OK(pthread_mutex_lock(&contended));
    now = rounds;
    OK(pthread_mutex_unlock(&contended));
    sched_yield();
  }
  stop = 1;
  for (int i = 0; i < THREADS; i++) OK(pthread_join(threads[i], NULL));
  return pass();
}
