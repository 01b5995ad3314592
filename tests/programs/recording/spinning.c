// Three threads take turns and wait for them without any system call: each must be stopped by force.
// ckpt-build: no-nopie
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

enum { THREADS = 3, ROUNDS = 4 };
static atomic_int turn;
static long sum;

static void* body(void* argument) {
  const int index = (int)(intptr_t)argument;
  for (int i = 0; i < ROUNDS; ++i) {
    while (atomic_load(&turn) % THREADS != index) {
    }
    sum = sum * 3 + index;
    atomic_fetch_add(&turn, 1);
  }
  return NULL;
}

int main(void) {
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; ++i)
    pthread_create(&threads[i], NULL, body, (void*)(intptr_t)i);
  for (int i = 0; i < THREADS; ++i) pthread_join(threads[i], NULL);
  printf("%ld\n", sum);
  return 0;
}
