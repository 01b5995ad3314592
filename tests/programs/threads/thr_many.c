// usage: thr_many [COUNT]. Many threads, each with a lock of its own held at the save, an id that
// it remembers, and thread-local storage.
#include "thr.h"

enum { MOST = 500 };
static pthread_mutex_t locks[MOST];
static int ids[MOST];
static __thread long mine;

static void* work(void* argument) {
  long index = (long)argument;
  mine = index * 3 + 1;
  ids[index] = gettid();
  OK(pthread_mutex_lock(&locks[index]));
  thr_arrive();
  thr_pass_gate(1);
  CHECK(mine == index * 3 + 1, "thread %ld: thread-local storage", index);
  CHECK(gettid() == ids[index], "thread %ld: gettid() is %d, was %d", index, gettid(), ids[index]);
  IS(pthread_mutex_lock(&locks[index]), EDEADLK);
  OK(pthread_mutex_unlock(&locks[index]));
  OK(pthread_kill(pthread_self(), 0));
  return (void*)mine;
}

int main(int argc, char** argv) {
  int count = argc > 1 ? atoi(argv[1]) : 200;
  CHECK(count > 0 && count <= MOST, "1 to 500 threads");
  static pthread_t threads[MOST];
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
  // With the usual 8 MiB the tests would read and compare gigabytes.
  pthread_attr_t small;
  OK(pthread_attr_init(&small));
  OK(pthread_attr_setstacksize(&small, 256 << 10));
  for (long i = 0; i < count; i++) {
    OK(pthread_mutex_init(&locks[i], &attributes));
    OK(pthread_create(&threads[i], &small, work, (void*)i));
  }
  thr_wait_arrived(count);
  ready();
  wait_line();
  for (long i = 0; i < count; i++) {
    IS(pthread_mutex_trylock(&locks[i]), EBUSY);
    IS(pthread_mutex_unlock(&locks[i]), EPERM);
  }
  thr_open_gate(1);
  for (long i = 0; i < count; i++) {
    void* result;
    OK(pthread_join(threads[i], &result));
    CHECK(result == (void*)(i * 3 + 1), "result of thread %ld", i);
  }
  return pass();
}
