// usage: thr_loader. A thread is inside dlopen() at the save, in the library's constructor: it
// holds the dynamic linker's own locks, which are recursive mutexes. Others wait for them.
// ckpt-build: no-static ckpt-link: -rdynamic -ldl
#include "thr.h"

#include <dlfcn.h>
#include <libgen.h>

static char library[4096];
static int input[2], done, in_constructor, constructed;

static void* load(const char* name) {
  void* handle = dlopen(name, RTLD_NOW);
  CHECK(handle, "dlopen: %s", dlerror());
  return handle;
}

void thr_in_constructor(void);
void thr_in_constructor(void) {
  if (constructed) return;
  char byte = 0;
  __atomic_store_n(&in_constructor, 1, __ATOMIC_SEQ_CST);
  thr_arrive();
  CHECK(read(input[0], &byte, 1) == 1, "read: %s", strerror(errno));
  // Once more, by the thread that holds them.
  void* more = load("libm.so.6");
  double (*cosine)(double) = (double (*)(double))dlsym(more, "cos");
  CHECK(cosine && cosine(0) == 1, "dlsym in a constructor");
  OK(dlclose(more));
  CHECK(!done, "another thread was let in while the constructor ran");
  constructed = 1;
}

static void* loads(void* unused) {
  void* handle = load(library);
  int (*answer)(void) = (int (*)(void))dlsym(handle, "thr_plugin_answer");
  CHECK(constructed && answer && answer() == 42, "the loaded library");
  __atomic_store_n(&done, 1, __ATOMIC_SEQ_CST);
  OK(dlclose(handle));
  return unused;
}

static void* waits(void* unused) {
  thr_arrive();
  return loads(unused);
}

static void* later(void* unused) {
  thr_pass_gate(1);
  thr_arrive();
  return loads(unused);
}

static void* again(void* unused) {
  for (int i = 0; i < 50; i++) {
    void* handle = load(library);
    CHECK(dlsym(handle, "thr_plugin_answer"), "dlsym");
    OK(dlclose(handle));
  }
  return unused;
}

int main(void) {
  char own[4000];
  ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
  CHECK(length > 0, "readlink");
  own[length] = 0;
  snprintf(library, sizeof library, "%s/thr_plugin.so", dirname(own));
  MUST(pipe(input));
  pthread_t threads[4];
  OK(pthread_create(&threads[0], NULL, loads, NULL));
  thr_wait_arrived(1);
  CHECK(in_constructor, "the constructor was not run");
  OK(pthread_create(&threads[1], NULL, waits, NULL));
  OK(pthread_create(&threads[2], NULL, later, NULL));
  thr_wait_arrived(2);
  ready();
  wait_line();
  thr_open_gate(1);
  thr_wait_arrived(3);
  for (int i = 0; i < 1000; i++) sched_yield();
  CHECK(!done, "a thread has loaded a library while another one was loading");
  MUST(write(input[1], "x", 1));
  for (int i = 0; i < 3; i++) OK(pthread_join(threads[i], NULL));
  for (int i = 0; i < 4; i++) OK(pthread_create(&threads[i], NULL, again, NULL));
  for (int i = 0; i < 4; i++) OK(pthread_join(threads[i], NULL));
  return pass();
}
