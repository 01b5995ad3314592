// usage: thr_openmp. An OpenMP team that exists at the save works on after it; nested locks, tasks.
// ckpt-cflags: -fopenmp
// ckpt-link: -fopenmp
// ckpt-build: no-static
#include "thr.h"

#include <omp.h>

static long sum_of(int n) {
  long sum = 0;
#pragma omp parallel for reduction(+ : sum) num_threads(4) schedule(dynamic, 7)
  for (int i = 0; i < n; i++) sum += i;
  return sum;
}

int main(void) {
  omp_nest_lock_t lock;
  omp_init_nest_lock(&lock);
  CHECK(sum_of(1000) == 499500, "before");
  omp_set_nest_lock(&lock);
  omp_set_nest_lock(&lock);
  ready();
  wait_line();
  for (int i = 0; i < 100; i++) CHECK(sum_of(10000) == 49995000, "round %d", i);
  CHECK(omp_test_nest_lock(&lock) == 3, "the nested lock does not know its owner");
  for (int i = 0; i < 3; i++) omp_unset_nest_lock(&lock);
  int done = 0;
#pragma omp parallel num_threads(6)
#pragma omp single
  for (int i = 0; i < 64; i++) {
#pragma omp task
    __atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
  }
  CHECK(done == 64, "%d tasks", done);
  return pass();
}
