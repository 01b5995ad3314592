// usage: thr_odds. What else glibc does by thread: handlers of pthread_atfork, fork by a thread
// that the child goes on with alone, signal masks in attributes, pthread_kill of a thread that has
// ended, the main thread's name, the order of destructors, call_once in progress, threads made by
// timers and asynchronous input and output.
#include "thr.h"

#include <aio.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <threads.h>

static char forks[16];
static pthread_key_t keys[3];
static int rounds[3], order[8], destroyed;
static once_flag once = ONCE_FLAG_INIT;
static int once_runs, notified, ended_id;
static pthread_t ended, main_thread;

static void before_fork(void) { strcat(forks, "b"); }
static void in_parent(void) { strcat(forks, "p"); }
static void in_child(void) { strcat(forks, "c"); }

// A destructor that sets its value again is called again, PTHREAD_DESTRUCTOR_ITERATIONS times.
static void destroy(void* value) {
  long which = (long)value - 1;
  if (destroyed < 8) order[destroyed++] = (int)which;
  if (which == 1 && ++rounds[1] < 3) OK(pthread_setspecific(keys[1], value));
}

static void run_once(void) {
  thr_arrive();
  thr_pass_gate(1);
  once_runs++;
}
static void* in_once(void* unused) {
  call_once(&once, run_once);
  CHECK(once_runs == 1, "call_once came back before the function had ended");
  return unused;
}
static void* with_keys(void* unused) {
  for (long i = 0; i < 3; i++) OK(pthread_setspecific(keys[i], (void*)(i + 1)));
  thr_arrive();
  thr_pass_gate(1);
  for (long i = 0; i < 3; i++) CHECK(pthread_getspecific(keys[i]) == (void*)(i + 1), "key %ld", i);
  return unused;
}
static void* ends_at_once(void* unused) {
  ended_id = gettid();
  thr_arrive();
  return unused;
}
static void* forks_on(void* unused) {
  thr_arrive();
  thr_pass_gate(1);
  // The child's only thread is a copy of this one, and has its thread-specific data.
  OK(pthread_setspecific(keys[0], (void*)1));
  pid_t child = fork();
  if (!child) {
    if (strcmp(forks, "bc")) _exit(1);
    if (pthread_getspecific(keys[0]) != (void*)1) _exit(2);
    if (pthread_equal(pthread_self(), main_thread)) _exit(3);
    OK(pthread_setspecific(keys[0], NULL));
    pthread_exit(NULL);  // the last thread: as exit(0)
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child, "waitpid");
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child of a thread: %#x", status);
  CHECK(!strcmp(forks, "bp"), "handlers of pthread_atfork: %s", forks);
  OK(pthread_setspecific(keys[0], NULL));
  return unused;
}
static void* masked(void* unused) {
  sigset_t mask;
  OK(pthread_sigmask(SIG_SETMASK, NULL, &mask));
  CHECK(sigismember(&mask, SIGUSR2) && !sigismember(&mask, SIGUSR1), "the mask of the attributes");
  return unused;
}
static void notify(union sigval value) {
  CHECK(value.sival_int == 99, "the notification's value");
  __atomic_add_fetch(&notified, 1, __ATOMIC_SEQ_CST);
}

static void threads_of_the_library(void) {
  struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_value = {.sival_int = 99}};
  event.sigev_notify_function = notify;
  struct itimerspec soon = {.it_value = {0, 1000000}};
  timer_t timer;
  MUST(timer_create(CLOCK_MONOTONIC, &event, &timer));
  MUST(timer_settime(timer, 0, &soon, NULL));
  while (!__atomic_load_n(&notified, __ATOMIC_SEQ_CST)) sched_yield();
  MUST(timer_delete(timer));
  char byte = 0;
  int fd = open("/dev/zero", O_RDONLY);
  struct aiocb request = {.aio_fildes = fd, .aio_buf = &byte, .aio_nbytes = 1};
  request.aio_sigevent = event;
  MUST(aio_read(&request));
  const struct aiocb* const list[1] = {&request};
  while (aio_error(&request) == EINPROGRESS) aio_suspend(list, 1, NULL);
  CHECK(aio_return(&request) == 1, "aio_read");
  while (__atomic_load_n(&notified, __ATOMIC_SEQ_CST) < 2) sched_yield();
  close(fd);
}

int main(void) {
  pthread_t first, second, keyed, forking, fresh;
  pthread_attr_t attributes;
  sigset_t mask;
  main_thread = pthread_self();
  for (int i = 0; i < 3; i++) OK(pthread_key_create(&keys[i], destroy));
  OK(pthread_atfork(before_fork, in_parent, in_child));
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR2);
  OK(pthread_attr_init(&attributes));
  OK(pthread_attr_setsigmask_np(&attributes, &mask));
  OK(pthread_setname_np(main_thread, "odds"));
  OK(pthread_create(&first, NULL, in_once, NULL));
  thr_wait_arrived(1);
  OK(pthread_create(&second, NULL, in_once, NULL));
  OK(pthread_create(&keyed, NULL, with_keys, NULL));
  OK(pthread_create(&forking, NULL, forks_on, NULL));
  OK(pthread_create(&ended, NULL, ends_at_once, NULL));
  thr_wait_arrived(4);
  IS(pthread_tryjoin_np(first, NULL), EBUSY);
  while (!tgkill(getpid(), ended_id, 0)) sched_yield();  // it is gone, and nobody has joined it
  ready();
  wait_line();
  int error = pthread_kill(ended, SIGKILL);  // nobody must get this one
  CHECK(error == 0 || error == ESRCH, "pthread_kill of a thread that has ended: %d", error);
  OK(pthread_join(ended, NULL));
  char name[16];
  OK(pthread_getname_np(main_thread, name, sizeof name));
  CHECK(!strcmp(name, "odds"), "the main thread's name is %s", name);
  OK(pthread_setname_np(main_thread, "even"));
  OK(pthread_getname_np(main_thread, name, sizeof name));
  CHECK(!strcmp(name, "even"), "the main thread's name is %s", name);
  thr_open_gate(1);
  OK(pthread_join(forking, NULL));
  OK(pthread_join(keyed, NULL));
  CHECK(destroyed == 5 && order[0] == 0 && order[1] == 1 && order[2] == 2 && order[3] == 1 &&
            order[4] == 1,
        "%d destructors", destroyed);
  OK(pthread_join(first, NULL));
  OK(pthread_join(second, NULL));
  OK(pthread_create(&fresh, &attributes, masked, NULL));
  OK(pthread_join(fresh, NULL));
  OK(pthread_attr_getsigmask_np(&attributes, &mask));
  CHECK(sigismember(&mask, SIGUSR2), "pthread_attr_getsigmask_np");
  threads_of_the_library();
  return pass();
}
