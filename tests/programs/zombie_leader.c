// The main thread has ended (pthread_exit) and the others go on: /proc/PID/maps of the leader is
// empty then, and the process ends when its last thread does.
#include "selfcheck.h"

static uint64_t block[4096];
static pthread_t main_thread;

static void* body(void* argument) {
  void* result;
  // Joining the main thread shows that it is gone.
  CHECK(!pthread_join(main_thread, &result) && result == (void*)4711, "join of the main thread");
  ready();
  wait_line();
  CHECK(first_difference(block, sizeof block, seed()) < 0, "memory");
  pass();
  exit(argument == (void*)1 ? 0 : 1);
}

int main(void) {
  pthread_t thread;
  fill(block, sizeof block, seed());
  main_thread = pthread_self();
  CHECK(!pthread_create(&thread, NULL, body, (void*)1), "pthread_create");
  pthread_exit((void*)4711);
}
