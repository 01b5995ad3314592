// Threads are made and end all the time, and signals fly between them: a save may fall between any
// two steps of clone and exit. Each thread adds to a sum whose final value is known.
#include "selfcheck.h"

enum { MAKERS = 3 };
static int stop;
static uint64_t made, finished;

static void* short_lived(void* unused) {
  volatile uint64_t local[32];
  for (size_t i = 0; i < 32; i++) local[i] = pattern(seed(), i);
  sched_yield();
  for (size_t i = 0; i < 32; i++)
    CHECK(local[i] == pattern(seed(), i), "a short-lived thread's stack");
  __atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
  return unused;
}

static void* maker(void* unused) {
  while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
    pthread_t thread;
    int error = pthread_create(&thread, NULL, short_lived, NULL);
    CHECK(!error, "pthread_create: %s", strerror(error));
    __atomic_add_fetch(&made, 1, __ATOMIC_SEQ_CST);
    error = pthread_join(thread, NULL);
    CHECK(!error, "pthread_join: %s", strerror(error));
  }
  return unused;
}

int main(void) {
  pthread_t makers[MAKERS];
  seed();
  for (int i = 0; i < MAKERS; i++)
    CHECK(!pthread_create(&makers[i], NULL, maker, NULL), "pthread_create");
  while (__atomic_load_n(&finished, __ATOMIC_SEQ_CST) < 10) sched_yield();
  ready();
  wait_line();
  uint64_t had = __atomic_load_n(&finished, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&finished, __ATOMIC_SEQ_CST) < had + 10) sched_yield();
  __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
  for (int i = 0; i < MAKERS; i++) CHECK(!pthread_join(makers[i], NULL), "pthread_join");
  CHECK(made == finished, "%llu made, %llu finished", (unsigned long long)made,
        (unsigned long long)finished);
  return pass();
}
