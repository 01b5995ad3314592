// A setuid broadcast after the restore: glibc makes every thread change its ids, by signalling each
// with tgkill, which needs the true thread ids in struct pthread. Run as root; ends as nobody.
#include "selfcheck.h"

static int started, released;
static uid_t seen[4];

static void* body(void* argument) {
  __atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
  while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST))
    futex(&released, FUTEX_WAIT_PRIVATE, 0, NULL);
  seen[(uintptr_t)argument] = geteuid();
  return NULL;
}

int main(void) {
  if (geteuid()) SKIP("needs root");
  pthread_t threads[4];
  for (uintptr_t i = 0; i < 4; i++)
    CHECK(!pthread_create(&threads[i], NULL, body, (void*)i), "pthread_create");
  while (__atomic_load_n(&started, __ATOMIC_SEQ_CST) < 4) sched_yield();
  ready();
  wait_line();
  MUST(setresuid(65534, 65534, 65534));
  __atomic_store_n(&released, 1, __ATOMIC_SEQ_CST);
  futex(&released, FUTEX_WAKE_PRIVATE, 1 << 20, NULL);
  for (int i = 0; i < 4; i++) {
    CHECK(!pthread_join(threads[i], NULL), "join");
    CHECK(seen[i] == 65534, "thread %d still has uid %d", i, (int)seen[i]);
  }
  return pass();
}
