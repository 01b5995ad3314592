// usage: compute THREADS. Computes without any system call, with integers and floating point, in
// all threads: a stop falls between any two instructions. Each thread's result is known beforehand,
// since it is computed twice by different routes. It ends by itself when told to stop and the round
// is done.
#include "selfcheck.h"

static int stop;
static uint64_t rounds[64];

static void* body(void* argument) {
  const uint64_t mine = (uintptr_t)argument;
  do {
    uint64_t sum = 0, reference = 0;
    double chain = 1.0, back;
    for (uint64_t i = 0; i < 200000; i++)
      sum += pattern(seed() + mine, i), chain = chain * 1.0000001 + (double)(i & 3);
    back = 1.0;
    for (uint64_t i = 0; i < 200000; i++) {
      reference ^= 0;
      reference = reference + pattern(seed() + mine, i);
      back = back * 1.0000001 + (double)(i & 3);
    }
    CHECK(sum == reference, "thread %llu: integers differ", (unsigned long long)mine);
    CHECK(!memcmp(&chain, &back, sizeof chain), "thread %llu: floating point differs",
          (unsigned long long)mine);
    rounds[mine]++;
  } while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST));
  return NULL;
}

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: compute THREADS");
  int count = atoi(argv[1]);
  CHECK(count >= 1 && count <= 64, "1 to 64 threads");
  pthread_t threads[64];
  seed();
  for (int i = 0; i < count; i++)
    CHECK(!pthread_create(&threads[i], NULL, body, (void*)(uintptr_t)i), "pthread_create");
  ready();
  wait_line();
  __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
  for (int i = 0; i < count; i++)
    CHECK(!pthread_join(threads[i], NULL) && rounds[i], "thread %d", i);
  return pass();
}
