// When it has read a line it makes a thread, which knows its id. A debugger that follows clone can
// stop the program before the new thread has run its first instruction.
#include "selfcheck.h"

static uint64_t given;

static void* newborn(void* argument) {
  clockid_t clock;
  struct timespec spent;
  CHECK(argument == &given && given == pattern(seed(), 1), "what the thread was given");
  // The C library makes that clock of the id that it remembers.
  CHECK(!pthread_getcpuclockid(pthread_self(), &clock), "pthread_getcpuclockid");
  CHECK(!clock_gettime(clock, &spent), "the thread's own clock: %s", strerror(errno));
  CHECK(!pthread_kill(pthread_self(), 0), "pthread_kill");
  return &given;
}

int main(void) {
  pthread_t thread;
  void* result = NULL;
  ready();
  wait_line();
  given = pattern(seed(), 1);
  int error = pthread_create(&thread, NULL, newborn, &given);
  CHECK(!error, "pthread_create: %s", strerror(error));
  error = pthread_join(thread, &result);
  CHECK(!error && result == &given, "pthread_join: %s", strerror(error));
  return pass();
}
