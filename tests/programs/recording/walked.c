// Calls, loops, a handler, a repeating instruction, pushed flags and a clock; then a crash behind a
// loop without a system call. With an argument: two threads that take turns, and an ordinary exit.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <x86intrin.h>

static volatile int handled, total, table[8];
static char text[256];
static __thread int own;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void on_signal(int signal) { handled += signal; }

static int add(int k) {
  int sum = 0;
  for (int i = 0; i < 5; ++i) sum += k * i;
  total += sum;
  return sum;
}

static void fill(int k) {
  unsigned long flags = 0;
  char* to = text;
  size_t left = 40;
  __asm__ volatile("pushfq; popq %0" : "=r"(flags));
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(left) : "a"(k) : "memory");
  table[k & 7] = add(k) + (int)(flags & 0x100);
  if (k == 5) raise(SIGUSR1);
}

// On a page of its own: what is watched stops each write to its page.
static struct {
  _Alignas(4096) volatile unsigned long count;
  char rest[4088];
} spun;

static void* work(void* argument) {
  own = *(int*)argument;
  prctl(PR_SET_NAME, own == 1 ? "one" : "a<hundred>");
  for (int k = 0; k < 20; ++k) {
    pthread_mutex_lock(&lock);
    total += *(int*)argument;
    pthread_mutex_unlock(&lock);
  }
  return argument;
}

static void take_turns(void) {
  int numbers[2] = {1, 100};
  pthread_t threads[2];
  for (int i = 0; i < 2; ++i) pthread_create(&threads[i], NULL, work, &numbers[i]);
  for (int i = 0; i < 2; ++i) pthread_join(threads[i], NULL);
  printf("%d\n", total);
}

static void crash(void) {
  for (long i = 0; i < 20000000; ++i) spun.count += i;
  volatile int* nowhere = (int*)(spun.count & 0);
  *nowhere = total;
}

int main(int argc, char** argv) {
  (void)argv;
  signal(SIGUSR1, on_signal);
  if (argc > 1) {
    take_turns();
    return 3;
  }
  for (int k = 0; k < 8; ++k) {
    fill(k);
    printf("%d %d\n", table[k], (int)(__rdtsc() != 0));
    fflush(stdout);
  }
  crash();
  return 0;
}
