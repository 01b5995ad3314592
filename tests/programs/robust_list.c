// Each thread's robust list head is registered with the kernel again, at the same address
// (get_robust_list asks for it).
#include "selfcheck.h"

static int started, released;

static void* head(void) {
  void* address = NULL;
  size_t size = 0;
  MUST(syscall(SYS_get_robust_list, 0, &address, &size));
  CHECK(address && size == 24, "robust list head %p, %zu bytes", address, size);
  return address;
}

static void* second(void* unused) {
  void* before = head();
  __atomic_store_n(&started, 1, __ATOMIC_SEQ_CST);
  while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST))
    futex(&released, FUTEX_WAIT_PRIVATE, 0, NULL);
  CHECK(head() == before, "second thread: robust list head moved from %p to %p", before, head());
  return unused;
}

int main(void) {
  pthread_t thread;
  void* before = head();
  CHECK(!pthread_create(&thread, NULL, second, NULL), "pthread_create");
  while (!__atomic_load_n(&started, __ATOMIC_SEQ_CST)) sched_yield();
  ready();
  wait_line();
  CHECK(head() == before, "robust list head moved from %p to %p", before, head());
  __atomic_store_n(&released, 1, __ATOMIC_SEQ_CST);
  futex(&released, FUTEX_WAKE_PRIVATE, 1, NULL);
  // The join needs the kernel to clear the tid word at exit (set_tid_address /
  // CLONE_CHILD_CLEARTID).
  CHECK(!pthread_join(thread, NULL), "pthread_join");
  return pass();
}
