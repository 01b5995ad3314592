// usage: thr_clocks. CPU clocks of the process and of a thread, whose ids the program got before
// the save: every call that takes a clock goes on with them, and with those it gets later. A thread
// sleeps on another one's CPU clock. Timers that signal a thread by the id it is remembered by.
#include "thr.h"

static clockid_t worker_clock, process_clock, own_clock;
static pthread_t worker, sleeper;
static int worker_id, spin, slept;
static volatile sig_atomic_t expired;

static void on_timer(int number) {
  (void)number;
  if (thr_id() == worker_id) expired++;
}

static void* work(void* unused) {
  worker_id = gettid();
  thr_arrive();
  thr_pass_gate(1);
  while (__atomic_load_n(&spin, __ATOMIC_SEQ_CST)) continue;
  return unused;
}

static void* sleep_on_the_clock(void* unused) {
  struct timespec time = {0, 20000000};
  thr_arrive();
  IS(clock_nanosleep(worker_clock, 0, &time, NULL), 0);
  __atomic_store_n(&slept, 1, __ATOMIC_SEQ_CST);
  return unused;
}

static uint64_t read_clock(clockid_t clock) {
  struct timespec time, by_number;
  MUST(clock_gettime(clock, &time));
  MUST(syscall(SYS_clock_gettime, clock, &by_number));
  uint64_t one = (uint64_t)time.tv_sec * 1000000000ULL + (uint64_t)time.tv_nsec;
  uint64_t two = (uint64_t)by_number.tv_sec * 1000000000ULL + (uint64_t)by_number.tv_nsec;
  CHECK(two >= one, "the clock goes backwards");
  return one;
}

static void all_calls(clockid_t clock, const char* what) {
  struct timespec time;
  MUST(clock_getres(clock, &time));
  CHECK(time.tv_sec == 0 && time.tv_nsec == 1, "%s: resolution %ld", what, time.tv_nsec);
  MUST(syscall(SYS_clock_getres, clock, &time));
  read_clock(clock);
  errno = 0;
  CHECK(clock_settime(clock, &time) == -1 && errno == EPERM, "%s: clock_settime: %s", what,
        strerror(errno));
  errno = 0;
  CHECK(syscall(SYS_clock_settime, clock, &time) == -1 && errno == EPERM, "%s: by number: %s", what,
        strerror(errno));
  timer_t timer;
  MUST(timer_create(clock, NULL, &timer));
  MUST(timer_delete(timer));
  int by_number;
  MUST(syscall(SYS_timer_create, clock, NULL, &by_number));
  MUST(syscall(SYS_timer_delete, by_number));
}

static void timer_for_the_worker(clockid_t clock, int raw) {
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 1};
  struct itimerspec soon = {.it_value = {0, 1000000}};
  int wanted = expired + 1;
  event._sigev_un._tid = worker_id;
  if (raw) {
    int timer;
    MUST(syscall(SYS_timer_create, clock, &event, &timer));
    MUST(syscall(SYS_timer_settime, timer, 0, &soon, NULL));
    while (expired < wanted) sched_yield();
    MUST(syscall(SYS_timer_delete, timer));
    return;
  }
  timer_t timer;
  MUST(timer_create(clock, &event, &timer));
  MUST(timer_settime(timer, 0, &soon, NULL));
  while (expired < wanted) sched_yield();
  MUST(timer_delete(timer));
}

int main(void) {
  struct sigaction action = {.sa_handler = on_timer, .sa_flags = SA_RESTART};
  MUST(sigaction(SIGRTMIN + 1, &action, NULL));
  OK(pthread_create(&worker, NULL, work, NULL));
  thr_wait_arrived(1);
  OK(pthread_getcpuclockid(worker, &worker_clock));
  OK(pthread_getcpuclockid(pthread_self(), &own_clock));
  OK(clock_getcpuclockid(getpid(), &process_clock));
  OK(pthread_create(&sleeper, NULL, sleep_on_the_clock, NULL));
  thr_wait_arrived(2);
  ready();
  wait_line();

  all_calls(worker_clock, "another thread's clock");
  all_calls(process_clock, "the process's clock");
  clockid_t now;
  OK(pthread_getcpuclockid(worker, &now));
  CHECK(now == worker_clock, "the thread's clock is %#x, was %#x", now, worker_clock);
  OK(clock_getcpuclockid(0, &now));
  all_calls(now, "the process's clock without an id");
  OK(clock_getcpuclockid(getpid(), &now));
  CHECK(now == process_clock, "the process's clock is %#x, was %#x", now, process_clock);
  uint64_t mine = read_clock(own_clock), precise = now_ns(CLOCK_THREAD_CPUTIME_ID);
  CHECK(precise >= mine && precise - mine < 1000000000, "the own thread's clock is another's");
  CHECK(read_clock(process_clock) <= now_ns(CLOCK_PROCESS_CPUTIME_ID), "the process's clock");
  struct timespec time = {0, 1000};
  IS(clock_nanosleep(own_clock, 0, &time, NULL), EINVAL);
  IS(clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL), 0);
  CHECK(!slept, "the sleep on a clock that stands still has ended");

  uint64_t before = read_clock(worker_clock);
  spin = 1;
  thr_open_gate(1);
  OK(pthread_join(sleeper, NULL));
  CHECK(read_clock(worker_clock) > before, "the thread's clock stands still");
  MUST(clock_nanosleep(process_clock, 0, &time, NULL));
  MUST(syscall(SYS_clock_nanosleep, process_clock, 0, &time, NULL));
  timer_for_the_worker(CLOCK_MONOTONIC, 0);
  timer_for_the_worker(worker_clock, 0);
  timer_for_the_worker(process_clock, 1);
  __atomic_store_n(&spin, 0, __ATOMIC_SEQ_CST);
  OK(pthread_join(worker, NULL));
  CHECK(expired == 3, "%d timers have expired", (int)expired);
  // The kernel forgets a thread a little after it has let others join it.
  while (!clock_gettime(worker_clock, &time)) sched_yield();
  CHECK(errno == EINVAL, "an ended thread's clock: %s", strerror(errno));
  return pass();
}
