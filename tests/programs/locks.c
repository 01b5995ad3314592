// usage: locks. Locks held over the save, by the main thread and by another one, with waiters. The
// kernel and glibc compare owners with thread ids: with new ids, owner words (and the TID part of
// PI and robust lock words) must follow. Robust lists must be registered: a thread that dies with a
// robust mutex makes it EOWNERDEAD, not stuck for ever.
#include "selfcheck.h"

static pthread_mutex_t plain, recursive, errorcheck, robust, pi, robust_pi;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t dying_robust, waited_pi;
static int started, released;
static int waiter_got;
static uint64_t decoys[64];  // hold the old ids and must stay as they are

static void make(pthread_mutex_t* mutex, int type, int is_robust, int protocol) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_settype(&attributes, type);
  if (is_robust) pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutexattr_setprotocol(&attributes, protocol);
  CHECK(!pthread_mutex_init(mutex, &attributes), "pthread_mutex_init");
}

static void lock_all(void) {
  CHECK(!pthread_mutex_lock(&plain), "lock");
  for (int i = 0; i < 3; i++) CHECK(!pthread_mutex_lock(&recursive), "lock");
  CHECK(!pthread_mutex_lock(&errorcheck), "lock");
  CHECK(!pthread_mutex_lock(&robust), "lock");
  CHECK(!pthread_mutex_lock(&pi), "lock");
  CHECK(!pthread_mutex_lock(&robust_pi), "lock");
  CHECK(!pthread_rwlock_wrlock(&rwlock), "lock");
}

#define OK(call)                                     \
  do {                                               \
    int error = (call);                              \
    CHECK(!error, "%s: %s", #call, strerror(error)); \
  } while (0)

static void* dying(void* unused) {
  OK(pthread_mutex_lock(&dying_robust));
  __atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
  while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST))
    futex(&released, FUTEX_WAIT_PRIVATE, 0, NULL);
  return unused;  // without unlocking
}

static void* waiter(void* unused) {
  __atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
  OK(pthread_mutex_lock(&waited_pi));
  __atomic_store_n(&waiter_got, 1, __ATOMIC_SEQ_CST);
  OK(pthread_mutex_unlock(&waited_pi));
  return unused;
}

int main(void) {
  seed();
  make(&plain, PTHREAD_MUTEX_NORMAL, 0, PTHREAD_PRIO_NONE);
  make(&recursive, PTHREAD_MUTEX_RECURSIVE, 0, PTHREAD_PRIO_NONE);
  make(&errorcheck, PTHREAD_MUTEX_ERRORCHECK, 0, PTHREAD_PRIO_NONE);
  make(&robust, PTHREAD_MUTEX_ERRORCHECK, 1, PTHREAD_PRIO_NONE);
  make(&pi, PTHREAD_MUTEX_ERRORCHECK, 0, PTHREAD_PRIO_INHERIT);
  make(&robust_pi, PTHREAD_MUTEX_RECURSIVE, 1, PTHREAD_PRIO_INHERIT);
  make(&dying_robust, PTHREAD_MUTEX_NORMAL, 1, PTHREAD_PRIO_NONE);
  make(&waited_pi, PTHREAD_MUTEX_NORMAL, 0, PTHREAD_PRIO_INHERIT);
  long tid = syscall(SYS_gettid);
  for (size_t i = 0; i < 64; i += 2)
    decoys[i] = (uint64_t)tid, decoys[i + 1] = (uint64_t)tid << 32 | 1;
  pthread_t robust_owner, pi_waiter;
  lock_all();
  OK(pthread_mutex_lock(&waited_pi));
  OK(pthread_create(&robust_owner, NULL, dying, NULL));
  OK(pthread_create(&pi_waiter, NULL, waiter, NULL));
  while (__atomic_load_n(&started, __ATOMIC_SEQ_CST) < 2) sched_yield();

  ready();
  wait_line();

  for (size_t i = 0; i < 64; i += 2)
    CHECK(decoys[i] == (uint64_t)tid && decoys[i + 1] == ((uint64_t)tid << 32 | 1),
          "a decoy was changed");
  CHECK(pthread_mutex_trylock(&plain) == EBUSY, "a held mutex is free");
  OK(pthread_mutex_unlock(&plain));
  OK(pthread_mutex_lock(&recursive));
  for (int i = 0; i < 4; i++) OK(pthread_mutex_unlock(&recursive));
  CHECK(pthread_mutex_lock(&errorcheck) == EDEADLK, "errorcheck mutex does not know its owner");
  OK(pthread_mutex_unlock(&errorcheck));
  CHECK(pthread_mutex_unlock(&errorcheck) == EPERM, "errorcheck mutex unlocks twice");
  CHECK(pthread_mutex_lock(&robust) == EDEADLK, "robust mutex does not know its owner");
  OK(pthread_mutex_unlock(&robust));
  CHECK(pthread_mutex_lock(&pi) == EDEADLK, "PI mutex does not know its owner");
  OK(pthread_mutex_unlock(&pi));
  OK(pthread_mutex_lock(&robust_pi));
  OK(pthread_mutex_unlock(&robust_pi));
  OK(pthread_mutex_unlock(&robust_pi));
  CHECK(pthread_rwlock_wrlock(&rwlock) == EDEADLK, "rwlock does not know its writer");
  OK(pthread_rwlock_unlock(&rwlock));
  CHECK(!__atomic_load_n(&waiter_got, __ATOMIC_SEQ_CST), "a held PI mutex was given away");
  OK(pthread_mutex_unlock(&waited_pi));
  OK(pthread_join(pi_waiter, NULL));
  CHECK(waiter_got, "the PI waiter did not get its mutex");
  __atomic_store_n(&released, 1, __ATOMIC_SEQ_CST);
  futex(&released, FUTEX_WAKE_PRIVATE, 1, NULL);
  CHECK(pthread_mutex_lock(&dying_robust) == EOWNERDEAD,
        "the death of a robust mutex's owner went unnoticed");
  OK(pthread_mutex_consistent(&dying_robust));
  OK(pthread_mutex_unlock(&dying_robust));
  OK(pthread_join(robust_owner, NULL));
  lock_all();  // all of them still work
  OK(pthread_mutex_unlock(&robust_pi));
  OK(pthread_mutex_unlock(&pi));
  return pass();
}
