// usage: thr_main_exits. The main thread ends after the save; the others go on.
#include "thr.h"

static pthread_t main_thread;
static void* nothing(void* unused) { return unused; }
static void* work(void* unused) {
  thr_arrive();
  void* result;
  OK(pthread_join(main_thread, &result));
  CHECK(result == (void*)5, "the main thread's result");
  CHECK(kill(getpid(), 0) == 0, "kill of a process whose main thread has ended");
  pthread_t more;
  OK(pthread_create(&more, NULL, nothing, NULL));
  OK(pthread_join(more, NULL));
  exit(pass());
  return unused;
}

int main(void) {
  pthread_t thread;
  main_thread = pthread_self();
  OK(pthread_create(&thread, NULL, work, NULL));
  thr_wait_arrived(1);
  ready();
  wait_line();
  pthread_exit((void*)5);
}
