// Three threads take turns, and wait in a loop that leaves no trace: a thread that has had its turn
// comes to the same instruction again, with the same registers, and only memory has changed.
// ckpt-build: no-nopie
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>

enum { THREADS = 3, ROUNDS = 4 };
static volatile int turn;
static volatile int rounds[THREADS];
static volatile long sum;

static void wait_for(int index) {
  __asm__ volatile(
      "xor %%eax, %%eax\n xor %%ecx, %%ecx\n xor %%edx, %%edx\n xor %%esi, %%esi\n"
      "xor %%edi, %%edi\n xor %%r8d, %%r8d\n xor %%r9d, %%r9d\n xor %%r10d, %%r10d\n"
      "xor %%r11d, %%r11d\n"
      "1: cmpl %%ebx, %0\n jne 1b"
      :
      : "m"(turn), "b"(index)
      : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc", "memory");
}

static void* body(void* argument) {
  const int index = (int)(intptr_t)argument;
  for (rounds[index] = 0; rounds[index] < ROUNDS; ++rounds[index]) {
    wait_for(index);
    sum = sum * 3 + index;
    turn = (turn + 1) % THREADS;
  }
  return NULL;
}

int main(void) {
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; ++i) pthread_create(&threads[i], NULL, body, (void*)(intptr_t)i);
  for (int i = 0; i < THREADS; ++i) pthread_join(threads[i], NULL);
  printf("%ld\n", sum);
  return 0;
}
