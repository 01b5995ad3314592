// usage: thr_waits. Threads that wait with a time-out at the save, by every call that takes a
// clock; condition variables with robust and priority-inheriting mutexes; a spin lock that is held.
#include "thr.h"

#include <semaphore.h>

enum { MUTEXES = 4 };
static pthread_mutex_t mutexes[MUTEXES];  // plain, error-checking, robust, priority-inheriting
static pthread_cond_t conditions[MUTEXES];
static pthread_mutex_t held[MUTEXES];
static pthread_rwlock_t read_held, write_held;
static pthread_spinlock_t spin;
static sem_t semaphore;
static pthread_t ending;
static int happened, served;

static struct timespec in_an_hour(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  time.tv_sec += 3600;
  return time;
}

static struct timespec just_now(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return time;
}

static void make(pthread_mutex_t* mutex, int kind) {
  pthread_mutexattr_t attributes;
  OK(pthread_mutexattr_init(&attributes));
  if (kind == 1) OK(pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK));
  if (kind == 2) OK(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
  if (kind == 3) OK(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT));
  OK(pthread_mutex_init(mutex, &attributes));
}

static void* at_condition(void* argument) {
  long kind = (long)argument % MUTEXES, clocked = (long)argument / MUTEXES;
  struct timespec end = in_an_hour(CLOCK_MONOTONIC);
  OK(pthread_mutex_lock(&mutexes[kind]));
  thr_arrive();
  while (!happened)
    if (clocked)
      OK(pthread_cond_clockwait(&conditions[kind], &mutexes[kind], CLOCK_MONOTONIC, &end));
    else
      OK(pthread_cond_wait(&conditions[kind], &mutexes[kind]));
  if (kind == 1) IS(pthread_mutex_lock(&mutexes[kind]), EDEADLK);
  __atomic_fetch_add(&served, 1, __ATOMIC_SEQ_CST);  // the others hold other mutexes
  OK(pthread_mutex_unlock(&mutexes[kind]));
  return NULL;
}

static void* at_mutex(void* argument) {
  long kind = (long)argument;
  // The kernel measures priority-inheriting locks by the clock of the day only.
  clockid_t clock = kind == 3 ? CLOCK_REALTIME : CLOCK_MONOTONIC;
  struct timespec end = in_an_hour(clock);
  thr_arrive();
  OK(pthread_mutex_clocklock(&held[kind], clock, &end));
  if (kind == 1) IS(pthread_mutex_lock(&held[kind]), EDEADLK);
  OK(pthread_mutex_unlock(&held[kind]));
  return NULL;
}

static void* at_semaphore(void* unused) {
  struct timespec end = in_an_hour(CLOCK_MONOTONIC);
  thr_arrive();
  MUST(sem_clockwait(&semaphore, CLOCK_MONOTONIC, &end));
  return unused;
}

static void* to_write(void* unused) {
  struct timespec end = in_an_hour(CLOCK_MONOTONIC);
  thr_arrive();
  OK(pthread_rwlock_clockwrlock(&read_held, CLOCK_MONOTONIC, &end));
  IS(pthread_rwlock_wrlock(&read_held), EDEADLK);
  OK(pthread_rwlock_unlock(&read_held));
  return unused;
}

static void* to_read(void* unused) {
  struct timespec end = in_an_hour(CLOCK_REALTIME);
  thr_arrive();
  OK(pthread_rwlock_timedrdlock(&write_held, &end));
  OK(pthread_rwlock_unlock(&write_held));
  return unused;
}

static void* to_join(void* unused) {
  struct timespec end = in_an_hour(CLOCK_MONOTONIC);
  void* result = NULL;
  thr_arrive();
  OK(pthread_clockjoin_np(ending, &result, CLOCK_MONOTONIC, &end));
  CHECK(result == &ending, "the joined thread's result");
  return unused;
}

static void* ends(void* unused) {
  thr_arrive();
  thr_pass_gate(1);
  (void)unused;
  return &ending;
}

static void* time_runs_out(void* unused) {
  struct timespec end = just_now(CLOCK_MONOTONIC);
  for (int kind = 0; kind < MUTEXES; kind++) {
    clockid_t clock = kind == 3 ? CLOCK_REALTIME : CLOCK_MONOTONIC;
    struct timespec now = just_now(clock);
    IS(pthread_mutex_clocklock(&held[kind], clock, &now), ETIMEDOUT);
  }
  IS(pthread_rwlock_clockwrlock(&read_held, CLOCK_MONOTONIC, &end), ETIMEDOUT);
  IS(pthread_rwlock_clockrdlock(&write_held, CLOCK_MONOTONIC, &end), ETIMEDOUT);
  CHECK(sem_clockwait(&semaphore, CLOCK_MONOTONIC, &end) == -1 && errno == ETIMEDOUT,
        "sem_clockwait: %s", strerror(errno));
  IS(pthread_spin_trylock(&spin), EBUSY);
  return unused;
}

int main(void) {
  pthread_t threads[2 * MUTEXES + MUTEXES + 4], late;
  int count = 0;
  MUST(sem_init(&semaphore, 0, 0));
  OK(pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE));
  OK(pthread_rwlock_init(&read_held, NULL));
  OK(pthread_rwlock_init(&write_held, NULL));
  OK(pthread_rwlock_rdlock(&read_held));
  OK(pthread_rwlock_wrlock(&write_held));
  OK(pthread_spin_lock(&spin));
  for (int kind = 0; kind < MUTEXES; kind++) {
    make(&mutexes[kind], kind);
    make(&held[kind], kind);
    OK(pthread_cond_init(&conditions[kind], NULL));
    OK(pthread_mutex_lock(&held[kind]));
  }
  OK(pthread_create(&ending, NULL, ends, NULL));
  for (long i = 0; i < 2 * MUTEXES; i++)
    OK(pthread_create(&threads[count++], NULL, at_condition, (void*)i));
  for (long i = 0; i < MUTEXES; i++)
    OK(pthread_create(&threads[count++], NULL, at_mutex, (void*)i));
  void* (*const bodies[])(void*) = {at_semaphore, to_write, to_read, to_join};
  for (int i = 0; i < 4; i++) OK(pthread_create(&threads[count++], NULL, bodies[i], NULL));
  thr_wait_arrived(count + 1);
  ready();
  wait_line();
  OK(pthread_create(&late, NULL, time_runs_out, NULL));
  OK(pthread_join(late, NULL));
  struct timespec now = just_now(CLOCK_MONOTONIC);
  IS(pthread_clockjoin_np(threads[0], NULL, CLOCK_MONOTONIC, &now), ETIMEDOUT);
  thr_open_gate(1);
  for (int kind = 0; kind < MUTEXES; kind++) {
    OK(pthread_mutex_lock(&mutexes[kind]));
    happened = 1;
    if (kind % 2) {
      for (int i = 0; i < 2; i++) OK(pthread_cond_signal(&conditions[kind]));
    } else {
      OK(pthread_cond_broadcast(&conditions[kind]));
    }
    OK(pthread_mutex_unlock(&mutexes[kind]));
    OK(pthread_mutex_unlock(&held[kind]));
  }
  MUST(sem_post(&semaphore));
  OK(pthread_rwlock_unlock(&read_held));
  OK(pthread_rwlock_unlock(&write_held));
  OK(pthread_spin_unlock(&spin));
  for (int i = 0; i < count; i++) OK(pthread_join(threads[i], NULL));
  CHECK(served == 2 * MUTEXES, "%d threads were woken at a condition variable", served);
  OK(pthread_spin_lock(&spin));
  return pass();
}
