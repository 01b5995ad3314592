// usage: thr_owners. Mutexes of every type, held at the save by a thread that is not the main one,
// with a second thread waiting for the contended ones: private and process-shared.
#include "thr.h"

enum { TYPES = 4, KINDS = TYPES * 2 * 3 };
static pthread_mutex_t* mutexes;  // in shared anonymous memory
static int present[KINDS];
static pthread_mutex_t contended, contended_pi, dying;
static pthread_rwlock_t written;
static int got;

static const int types[TYPES] = {PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE,
                                 PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_ADAPTIVE_NP};
static const int protocols[3] = {PTHREAD_PRIO_NONE, PTHREAD_PRIO_INHERIT, PTHREAD_PRIO_PROTECT};

// The main thread's policy has no priority that could be raised to a ceiling.
static int has_ceiling(int i) { return protocols[i / TYPES / 2] == PTHREAD_PRIO_PROTECT; }

static int make(pthread_mutex_t* mutex, int type, int robust, int protocol, int shared) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_settype(&attributes, type);
  if (robust) pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  if (shared) pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setprotocol(&attributes, protocol);
  if (protocol == PTHREAD_PRIO_PROTECT) pthread_mutexattr_setprioceiling(&attributes, 1);
  return pthread_mutex_init(mutex, &attributes);
}

static void* owner(void* unused) {
  for (int i = 0; i < KINDS; i++) {
    int type = types[i % TYPES], robust = i / TYPES % 2, protocol = protocols[i / TYPES / 2];
    if (make(&mutexes[i], type, robust, protocol, i % 3 == 0)) continue;  // not supported together
    // A ceiling asks for a real-time policy, which may not be permitted.
    if (pthread_mutex_lock(&mutexes[i])) continue;
    present[i] = 1;
    if (type == PTHREAD_MUTEX_RECURSIVE) OK(pthread_mutex_lock(&mutexes[i]));
  }
  OK(pthread_mutex_lock(&contended));
  OK(pthread_mutex_lock(&contended_pi));
  OK(pthread_rwlock_wrlock(&written));
  thr_arrive();
  thr_pass_gate(1);
  IS(pthread_rwlock_wrlock(&written), EDEADLK);
  OK(pthread_rwlock_unlock(&written));
  for (int i = 0; i < KINDS; i++) {
    if (!present[i]) continue;
    if (types[i % TYPES] == PTHREAD_MUTEX_ERRORCHECK) IS(pthread_mutex_lock(&mutexes[i]), EDEADLK);
    if (types[i % TYPES] == PTHREAD_MUTEX_RECURSIVE) {
      OK(pthread_mutex_lock(&mutexes[i]));
      for (int n = 0; n < 2; n++) OK(pthread_mutex_unlock(&mutexes[i]));
    }
    OK(pthread_mutex_unlock(&mutexes[i]));
  }
  CHECK(!got, "a held mutex was given away");
  OK(pthread_mutex_unlock(&contended));
  OK(pthread_mutex_unlock(&contended_pi));
  OK(pthread_mutex_lock(&dying));
  return unused;  // dies with it
}

static void* waiter(void* argument) {
  pthread_mutex_t* mutex = (pthread_mutex_t*)argument;
  thr_arrive();
  OK(pthread_mutex_lock(mutex));
  __atomic_add_fetch(&got, 1, __ATOMIC_SEQ_CST);
  OK(pthread_mutex_unlock(mutex));
  return NULL;
}

int main(void) {
  mutexes = (pthread_mutex_t*)mmap(NULL, KINDS * sizeof *mutexes, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(mutexes != MAP_FAILED, "mmap");
  OK(make(&contended, PTHREAD_MUTEX_ERRORCHECK, 0, PTHREAD_PRIO_NONE, 0));
  OK(make(&contended_pi, PTHREAD_MUTEX_NORMAL, 0, PTHREAD_PRIO_INHERIT, 0));
  OK(make(&dying, PTHREAD_MUTEX_NORMAL, 1, PTHREAD_PRIO_NONE, 0));
  OK(pthread_rwlock_init(&written, NULL));
  pthread_t threads[3];
  OK(pthread_create(&threads[0], NULL, owner, NULL));
  thr_wait_arrived(1);
  OK(pthread_create(&threads[1], NULL, waiter, &contended));
  OK(pthread_create(&threads[2], NULL, waiter, &contended_pi));
  thr_wait_arrived(3);
  int held = 0;
  for (int i = 0; i < KINDS; i++) held += present[i];
  CHECK(held >= TYPES * 2 * 2, "only %d kinds of mutexes can be held", held);
  ready();
  wait_line();
  for (int i = 0; i < KINDS; i++)
    if (present[i] && !has_ceiling(i)) IS(pthread_mutex_trylock(&mutexes[i]), EBUSY);
  for (int i = 0; i < KINDS; i++)  // not ours
    if (present[i] && !has_ceiling(i) && types[i % TYPES] != PTHREAD_MUTEX_NORMAL &&
        types[i % TYPES] != PTHREAD_MUTEX_ADAPTIVE_NP)
      IS(pthread_mutex_unlock(&mutexes[i]), EPERM);
  IS(pthread_rwlock_trywrlock(&written), EBUSY);
  thr_open_gate(1);
  for (int i = 0; i < 3; i++) OK(pthread_join(threads[i], NULL));
  CHECK(got == 2, "%d waiters got their mutex", got);
  for (int i = 0; i < KINDS; i++)
    if (present[i] && !has_ceiling(i)) OK(pthread_mutex_lock(&mutexes[i]));
  IS(pthread_mutex_lock(&dying), EOWNERDEAD);
  OK(pthread_mutex_consistent(&dying));
  OK(pthread_mutex_unlock(&dying));
  OK(pthread_rwlock_wrlock(&written));
  return pass();
}
