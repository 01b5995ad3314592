// usage: thr_sync. Threads that wait at the save, at a barrier, for a condition, for a semaphore,
// for the end of a pthread_once and of a C11 call_once; destructors of thread-specific data; C11
// threads.
#include "thr.h"

#include <semaphore.h>
#include <threads.h>

static pthread_barrier_t barrier;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static sem_t semaphore;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int happened, once_runs, destroyed, serial;
static mtx_t c11_mutex;
static cnd_t c11_condition;
static tss_t c11_key;

static void run_once(void) {
  thr_arrive();
  thr_pass_gate(1);
  once_runs++;
}
static void destroy(void* value) {
  if (value == &key || value == &c11_key) __atomic_add_fetch(&destroyed, 1, __ATOMIC_SEQ_CST);
}

static void* at_barrier(void* unused) {
  pthread_setspecific(key, &key);
  thr_arrive();
  int result = pthread_barrier_wait(&barrier);
  if (result == PTHREAD_BARRIER_SERIAL_THREAD) __atomic_add_fetch(&serial, 1, __ATOMIC_SEQ_CST);
  return unused;
}
static void* at_condition(void* unused) {
  OK(pthread_mutex_lock(&mutex));
  thr_arrive();
  while (!happened) OK(pthread_cond_wait(&condition, &mutex));
  OK(pthread_mutex_unlock(&mutex));
  return unused;
}
static void* at_condition_for_a_time(void* unused) {
  struct timespec end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += 3600;
  OK(pthread_mutex_lock(&mutex));
  thr_arrive();
  while (!happened) OK(pthread_cond_timedwait(&condition, &mutex, &end));
  OK(pthread_mutex_unlock(&mutex));
  return unused;
}
static void* at_semaphore(void* unused) {
  thr_arrive();
  MUST(sem_wait(&semaphore));
  return unused;
}
static void* in_once(void* unused) {
  OK(pthread_once(&once, run_once));
  return unused;
}
static void* after_once(void* unused) {
  thr_arrive();
  OK(pthread_once(&once, run_once));
  CHECK(once_runs == 1, "pthread_once came back before the routine had ended");
  return unused;
}
static int c11(void* argument) {
  CHECK(tss_set(c11_key, &c11_key) == thrd_success, "tss_set");
  CHECK(mtx_lock(&c11_mutex) == thrd_success, "mtx_lock");
  CHECK(mtx_lock(&c11_mutex) == thrd_success, "mtx_lock, again");
  CHECK(mtx_unlock(&c11_mutex) == thrd_success, "mtx_unlock");
  thr_arrive();
  while (!happened) CHECK(cnd_wait(&c11_condition, &c11_mutex) == thrd_success, "cnd_wait");
  CHECK(mtx_unlock(&c11_mutex) == thrd_success, "mtx_unlock");
  return *(int*)argument;
}

int main(void) {
  pthread_t threads[9];
  thrd_t c11_thread;
  int count = 0, number = 77, result = 0;
  OK(pthread_key_create(&key, destroy));
  CHECK(tss_create(&c11_key, destroy) == thrd_success, "tss_create");
  CHECK(mtx_init(&c11_mutex, mtx_plain | mtx_recursive) == thrd_success, "mtx_init");
  CHECK(cnd_init(&c11_condition) == thrd_success, "cnd_init");
  OK(pthread_barrier_init(&barrier, NULL, 3));
  MUST(sem_init(&semaphore, 0, 0));
  OK(pthread_create(&threads[count++], NULL, in_once, NULL));
  thr_wait_arrived(1);
  void* (*const bodies[])(void*) = {
      after_once, at_barrier, at_barrier, at_condition, at_condition_for_a_time, at_semaphore};
  for (int i = 0; i < 6; i++) OK(pthread_create(&threads[count++], NULL, bodies[i], NULL));
  CHECK(thrd_create(&c11_thread, c11, &number) == thrd_success, "thrd_create");
  thr_wait_arrived(8);
  ready();
  wait_line();
  thr_open_gate(1);
  int mine = pthread_barrier_wait(&barrier);
  if (mine == PTHREAD_BARRIER_SERIAL_THREAD) __atomic_add_fetch(&serial, 1, __ATOMIC_SEQ_CST);
  OK(pthread_mutex_lock(&mutex));
  CHECK(mtx_lock(&c11_mutex) == thrd_success, "mtx_lock");
  happened = 1;
  OK(pthread_cond_broadcast(&condition));
  CHECK(cnd_broadcast(&c11_condition) == thrd_success, "cnd_broadcast");
  OK(pthread_mutex_unlock(&mutex));
  CHECK(mtx_unlock(&c11_mutex) == thrd_success, "mtx_unlock");
  MUST(sem_post(&semaphore));
  for (int i = 0; i < count; i++) OK(pthread_join(threads[i], NULL));
  CHECK(thrd_join(c11_thread, &result) == thrd_success && result == 77, "thrd_join");
  CHECK(once_runs == 1, "the routine ran %d times", once_runs);
  CHECK(serial == 1, "%d serial threads", serial);
  CHECK(destroyed == 3, "%d destructors of thread-specific data", destroyed);
  return pass();
}
