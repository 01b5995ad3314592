// What the programs about threads share: threads that wait for a release and then check themselves.
#pragma once
#include "../selfcheck.h"

// A call of the pthread family: 0, or the program fails with its name.
#define OK(call)                                       \
  do {                                                 \
    int error_ = (call);                               \
    CHECK(!error_, "%s: %s", #call, strerror(error_)); \
  } while (0)

#define IS(call, wanted)                                                           \
  do {                                                                             \
    int error_ = (call);                                                           \
    CHECK(error_ == (wanted), "%s: %s, not %s", #call, strerror(error_), #wanted); \
  } while (0)

static int thr_arrived, thr_gate;

// Counts the calling thread in; the main thread waits for all with thr_wait_arrived().
SELFCHECK_UNUSED static void thr_arrive(void) {
  __atomic_add_fetch(&thr_arrived, 1, __ATOMIC_SEQ_CST);
  futex(&thr_arrived, FUTEX_WAKE_PRIVATE, 1, NULL);
}

SELFCHECK_UNUSED static void thr_wait_arrived(int count) {
  for (int now; (now = __atomic_load_n(&thr_arrived, __ATOMIC_SEQ_CST)) < count;)
    futex(&thr_arrived, FUTEX_WAIT_PRIVATE, now, NULL);
}

// Waits until the gate stands at `step` or beyond.
SELFCHECK_UNUSED static void thr_pass_gate(int step) {
  for (int now; (now = __atomic_load_n(&thr_gate, __ATOMIC_SEQ_CST)) < step;)
    if (futex(&thr_gate, FUTEX_WAIT_PRIVATE, now, NULL) == -1 && errno != EAGAIN)
      FAIL("futex wait: %s", strerror(errno));
}

SELFCHECK_UNUSED static void thr_open_gate(int step) {
  __atomic_store_n(&thr_gate, step, __ATOMIC_SEQ_CST);
  futex(&thr_gate, FUTEX_WAKE_PRIVATE, 1 << 30, NULL);
}

SELFCHECK_UNUSED static int thr_id(void) { return (int)syscall(SYS_gettid); }
