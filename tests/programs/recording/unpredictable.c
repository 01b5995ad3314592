// Clocks, random numbers, ids, and what the kernel's own functions (vdso) tell.
// ckpt-build: no-nopie
#include <cpuid.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

// The instruction is patched by recordings whether the processor has it or not, but not run.
static unsigned long drawn(void) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  __get_cpuid(1, &a, &b, &c, &d);
  unsigned long value = 0;
  if (c & (1U << 30)) __asm__ volatile("rdrand %0" : "=r"(value) : : "cc");
  return value;
}

int main(void) {
  unsigned low, high, processor;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
  printf("%u %u\n", low, high);
  __asm__ volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(processor));
  printf("%u %u %u\n", low, high, processor);
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  struct timeval day;
  gettimeofday(&day, NULL);
  unsigned long bytes = 0;
  if (getrandom(&bytes, sizeof bytes, 0) != sizeof bytes) return 1;
  printf("%ld %ld %ld %lx %d %d\n", now.tv_nsec, (long)day.tv_usec, (long)time(NULL), bytes,
         (int)getpid(), sched_getcpu());
  printf("%lx %p\n", drawn(), malloc(100000));
  return 0;
}
