// usage: thr_cancel. Threads that were waiting, or computing, at the save are cancelled after it;
// then a thousand rounds of create, cancel and join, deferred and asynchronous in turn.
#include "thr.h"

static int cleaned;
static void clean(void* unused) { (void)unused, __atomic_add_fetch(&cleaned, 1, __ATOMIC_SEQ_CST); }

static void* waits(void* unused) {
  pthread_cleanup_push(clean, NULL);
  thr_arrive();
  for (;;) pause();
  pthread_cleanup_pop(0);
  return unused;
}

static volatile unsigned long rounds;
static void* computes(void* unused) {
  pthread_cleanup_push(clean, NULL);
  OK(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL));
  thr_arrive();
  for (;;) rounds++;
  pthread_cleanup_pop(0);
  return unused;
}

static void* defers(void* unused) {
  OK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL));
  thr_arrive();
  thr_pass_gate(1);
  OK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL));
  pthread_testcancel();
  return unused;
}

int main(void) {
  pthread_t waiter, computer, deferrer, one;
  void* result;
  OK(pthread_create(&waiter, NULL, waits, NULL));
  OK(pthread_create(&computer, NULL, computes, NULL));
  OK(pthread_create(&deferrer, NULL, defers, NULL));
  thr_wait_arrived(3);
  ready();
  wait_line();
  OK(pthread_cancel(deferrer));
  thr_open_gate(1);
  OK(pthread_join(deferrer, &result));
  CHECK(result == PTHREAD_CANCELED, "the third was not cancelled");
  OK(pthread_cancel(waiter));
  OK(pthread_join(waiter, &result));
  CHECK(result == PTHREAD_CANCELED, "the first was not cancelled");
  OK(pthread_cancel(computer));
  OK(pthread_join(computer, &result));
  CHECK(result == PTHREAD_CANCELED, "the second was not cancelled");
  CHECK(cleaned == 2, "%d cleanup handlers", cleaned);
  for (int i = 0; i < 1000; i++) {
    OK(pthread_create(&one, NULL, i % 2 ? waits : computes, NULL));
    if (i % 3) thr_wait_arrived(4 + i);
    OK(pthread_cancel(one));
    OK(pthread_join(one, &result));
    CHECK(result == PTHREAD_CANCELED, "round %d", i);
    // One that was cancelled before it began has not counted itself.
    __atomic_store_n(&thr_arrived, 4 + i, __ATOMIC_SEQ_CST);
  }
  return pass();
}
