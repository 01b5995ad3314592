// usage: proc_timers CASE | --list. Timers of setitimer, alarm and timer_create: after the restore
// each has the time that remained, and its signal comes once, with the value it was made with.
#include "selfcheck.h"

#include <sys/time.h>
#include <sys/timerfd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum { LONG_S = 3600, SOON_MS = 700, GAPS = 12 };

static volatile sig_atomic_t taken;
static volatile int last_value;
static timer_t timers[400];
static uint64_t begun_ns;

static void on_signal(int number, siginfo_t* info, void* context) {
  (void)number;
  (void)context;
  last_value = info->si_value.sival_int;
  taken++;
}
static void handle(int number) {
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
  MUST(sigaction(number, &action, NULL));
}
static sigset_t only(int number) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, number);
  return set;
}
static void block(int number) {
  sigset_t set = only(number);
  MUST(pthread_sigmask(SIG_BLOCK, &set, NULL));
}
static void until_pending(int number) {
  sigset_t set;
  do MUST(sigpending(&set));
  while (!sigismember(&set, number));
}
// Takes one signal, for which it waits; its siginfo is as the kernel gives it.
static siginfo_t take(int number) {
  sigset_t set = only(number);
  siginfo_t info;
  memset(&info, 0, sizeof info);
  int got = (int)syscall(SYS_rt_sigtimedwait, &set, &info, NULL, 8);
  CHECK(got == number, "took signal %d instead of %d: %s", got, number, strerror(errno));
  return info;
}
static void none_left(int number) {
  sigset_t set = only(number);
  struct timespec none = {0, 0};
  int got = sigtimedwait(&set, NULL, &none);
  CHECK(got == -1 && errno == EAGAIN, "signal %d is there once more", number);
}
static void burn(clockid_t clock, uint64_t ms) {
  uint64_t end = now_ns(clock) + ms * 1000000;
  while (now_ns(clock) < end) {
  }
}
static void lasted(uint64_t ms) {
  uint64_t elapsed = now_ns(CLOCK_MONOTONIC) - begun_ns;
  CHECK(elapsed >= ms * 1000000, "it came after %llu us instead of %llu ms",
        (unsigned long long)elapsed / 1000, (unsigned long long)ms);
}
static struct itimerspec in_ms(long ms, long interval_ms) {
  return (struct itimerspec){{interval_ms / 1000, interval_ms % 1000 * 1000000},
                             {ms / 1000, ms % 1000 * 1000000}};
}
static struct sigevent by_signal(int number, int value) {
  struct sigevent event;
  memset(&event, 0, sizeof event);
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = number;
  event.sigev_value.sival_int = value;
  return event;
}
static void make(int i, clockid_t clock, struct sigevent* event) {
  if (timer_create(clock, event, &timers[i])) SKIP("timer_create(%d): %s", clock, strerror(errno));
}
static void set(int i, long ms, long interval_ms) {
  struct itimerspec value = in_ms(ms, interval_ms);
  MUST(timer_settime(timers[i], 0, &value, NULL));
}
static void has(int i, long least_s, long most_s, long interval_s) {
  struct itimerspec now;
  CHECK(!timer_gettime(timers[i], &now), "timer %d: %s", i, strerror(errno));
  CHECK(now.it_value.tv_sec >= least_s && now.it_value.tv_sec <= most_s, "timer %d has %ld s", i,
        (long)now.it_value.tv_sec);
  CHECK(now.it_interval.tv_sec == interval_s, "timer %d repeats after %ld s", i,
        (long)now.it_interval.tv_sec);
}

// ---- setitimer, alarm
static void set_interval(int which) {
  struct itimerval value = {{7, 250000}, {LONG_S, 0}};
  MUST(setitimer(which, &value, NULL));
}
static void has_interval(int which) {
  struct itimerval now;
  MUST(getitimer(which, &now));
  // At most one tick more than there was.
  CHECK(now.it_value.tv_sec > LONG_S - 60 && now.it_value.tv_sec <= LONG_S, "it has %ld s",
        (long)now.it_value.tv_sec);
  CHECK(now.it_interval.tv_sec == 7 && now.it_interval.tv_usec == 250000, "its interval");
}
static void real_set(void) { set_interval(ITIMER_REAL); }
static void real_has(void) { has_interval(ITIMER_REAL); }
static void virtual_set(void) { set_interval(ITIMER_VIRTUAL); }
static void virtual_has(void) { has_interval(ITIMER_VIRTUAL); }
static void prof_set(void) { set_interval(ITIMER_PROF); }
static void prof_has(void) { has_interval(ITIMER_PROF); }
static void alarm_set(void) { alarm(LONG_S); }
static void alarm_has(void) {
  unsigned left = alarm(0);
  CHECK(left > LONG_S - 60 && left <= LONG_S, "alarm(0) says %u", left);
}
static void no_timer_has(void) {
  for (int which = 0; which < 3; which++) {
    struct itimerval now;
    MUST(getitimer(which, &now));
    CHECK(!now.it_value.tv_sec && !now.it_value.tv_usec && !now.it_interval.tv_sec, "timer %d runs",
          which);
  }
}
static void fires_set(void) {
  handle(SIGALRM);
  struct itimerval value = {{0, 0}, {0, SOON_MS * 1000}};
  begun_ns = now_ns(CLOCK_MONOTONIC);
  MUST(setitimer(ITIMER_REAL, &value, NULL));
}
static void fires_once(void) {
  sigset_t set = only(SIGALRM), before;
  sigprocmask(SIG_BLOCK, &set, &before);
  while (!taken) sigsuspend(&before);
  lasted(SOON_MS);
  CHECK(taken == 1, "it came %d times", (int)taken);
  none_left(SIGALRM);
}
static void repeats_set(void) {
  handle(SIGALRM);
  struct itimerval value = {{0, 200000}, {0, SOON_MS * 1000}};
  begun_ns = now_ns(CLOCK_MONOTONIC);
  MUST(setitimer(ITIMER_REAL, &value, NULL));
}
static void repeats(void) {
  sigset_t set = only(SIGALRM), before;
  sigprocmask(SIG_BLOCK, &set, &before);
  for (int i = 0; i < 4; i++) {
    while (taken == i) sigsuspend(&before);
    lasted(SOON_MS + 200U * (unsigned)i);
  }
}
static void virtual_fires_set(void) {
  handle(SIGVTALRM);
  handle(SIGPROF);
  struct itimerval value = {{0, 0}, {0, 100000}};
  MUST(setitimer(ITIMER_VIRTUAL, &value, NULL));
  MUST(setitimer(ITIMER_PROF, &value, NULL));
}
static void virtual_fires(void) {
  while (taken < 2) burn(CLOCK_PROCESS_CPUTIME_ID, 1);
  burn(CLOCK_PROCESS_CPUTIME_ID, 150);
  CHECK(taken == 2, "%d signals of two timers", (int)taken);
}
static void pending_set(void) {
  block(SIGALRM);
  struct itimerval value = {{0, 0}, {0, 1000}};
  MUST(setitimer(ITIMER_REAL, &value, NULL));
  until_pending(SIGALRM);
}
static void pending_once(void) {
  siginfo_t info = take(SIGALRM);
  CHECK(info.si_code == SI_KERNEL, "si_code is %d", info.si_code);
  none_left(SIGALRM);
  no_timer_has();
}
static void pending_repeats_set(void) {
  block(SIGALRM);
  struct itimerval value = {{0, 80000}, {0, 1000}};
  MUST(setitimer(ITIMER_REAL, &value, NULL));
  until_pending(SIGALRM);
}
static void pending_repeats(void) {
  take(SIGALRM);  // the one that was queued; the timer starts anew when it is taken
  begun_ns = now_ns(CLOCK_MONOTONIC);
  for (unsigned i = 1; i <= 3; i++) {
    take(SIGALRM);
    if (i > 1) lasted(80 * (i - 1));
  }
}
// The timer is set for later while the signal of its last expiry is still queued.
static void pending_and_set_set(void) {
  pending_set();
  set_interval(ITIMER_REAL);
}
static void pending_and_set(void) {
  has_interval(ITIMER_REAL);
  take(SIGALRM);
  none_left(SIGALRM);
  has_interval(ITIMER_REAL);
}

// ---- timer_create
static void clocks_set(void) {
  const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC,          CLOCK_BOOTTIME,
                              CLOCK_TAI,      CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
  for (int i = 0; i < 6; i++) {
    struct sigevent event = by_signal(SIGRTMIN + i, i);
    make(i, clocks[i], &event);
    set(i, LONG_S * 1000L * (i + 1), i * 1000L);
  }
}
static void clocks_have(void) {
  for (int i = 0; i < 6; i++) has(i, LONG_S * (i + 1) - 60, LONG_S * (i + 1), i);
}
static void ids_set(void) {
  struct sigevent event = by_signal(SIGRTMIN, 0);
  for (int i = 0; i < GAPS * GAPS; i++) make(i, CLOCK_MONOTONIC, &event);
  for (int i = 0; i < GAPS * GAPS; i++)
    if (i % GAPS)
      MUST(timer_delete(timers[i]));
    else
      set(i, (LONG_S + i) * 1000L, 0);
}
static void ids_have(void) {
  struct itimerspec now;
  for (int i = 0; i < GAPS * GAPS; i++)
    if (i % GAPS)
      CHECK(timer_gettime(timers[i], &now) == -1 && errno == EINVAL, "timer %d is there again", i);
    else
      has(i, LONG_S + i - 60, LONG_S + i, 0);
  // A new one gets an id that is free.
  timer_t more;
  MUST(timer_create(CLOCK_MONOTONIC, NULL, &more));
  for (int i = 0; i < GAPS * GAPS; i += GAPS) CHECK(more != timers[i], "id %d is given twice", i);
  for (int i = 0; i < GAPS * GAPS; i += GAPS) MUST(timer_delete(timers[i]));
}
static void many_set(void) {
  struct sigevent event = by_signal(SIGRTMIN, 0);
  for (int i = 0; i < 400; i++) {
    make(i, CLOCK_MONOTONIC, &event);
    set(i, (LONG_S + i) * 1000L, i);
  }
}
static void many_have(void) {
  for (int i = 0; i < 400; i++) has(i, LONG_S + i - 60, LONG_S + i, 0);
}
static void disarmed_set(void) {
  struct sigevent event = by_signal(SIGRTMIN + 1, 41);
  handle(SIGRTMIN + 1);
  make(0, CLOCK_MONOTONIC, &event);
}
static void disarmed_has(void) {
  has(0, 0, 0, 0);
  CHECK(!taken, "it has expired");
  set(0, 1, 0);
  while (!taken) sched_yield();
  CHECK(taken == 1 && last_value == 41, "value %d", last_value);
}
static void signal_set(void) {
  struct sigevent event = by_signal(SIGRTMIN + 2, 4711);
  block(SIGRTMIN + 2);
  make(0, CLOCK_MONOTONIC, &event);
  begun_ns = now_ns(CLOCK_MONOTONIC);
  set(0, SOON_MS, 0);
}
static void signal_comes(void) {
  siginfo_t info = take(SIGRTMIN + 2);
  lasted(SOON_MS);
  CHECK(info.si_code == SI_TIMER && info.si_value.sival_int == 4711, "code %d, value %d",
        info.si_code, info.si_value.sival_int);
  none_left(SIGRTMIN + 2);
  has(0, 0, 0, 0);
}
static int timerfd;
static void timerfd_set(void) {
  const struct itimerspec soon = in_ms(SOON_MS, 0);
  MUST(timerfd = timerfd_create(CLOCK_MONOTONIC, 0));
  begun_ns = now_ns(CLOCK_MONOTONIC);
  MUST(timerfd_settime(timerfd, 0, &soon, NULL));
}
static void timerfd_comes(void) {
  uint64_t expirations = 0;
  CHECK(read(timerfd, &expirations, sizeof expirations) == sizeof expirations, "read: %s",
        strerror(errno));
  lasted(SOON_MS);
  CHECK(expirations == 1, "it expired %d times", (int)expirations);
}
static void default_event_set(void) {
  block(SIGALRM);
  make(0, CLOCK_MONOTONIC, NULL);
  begun_ns = now_ns(CLOCK_MONOTONIC);
  set(0, SOON_MS, 0);
}
static void default_event_comes(void) {
  siginfo_t info = take(SIGALRM);
  lasted(SOON_MS);
  CHECK(info.si_code == SI_TIMER && info.si_value.sival_ptr == timers[0], "value %p",
        info.si_value.sival_ptr);
}
static void none_set(void) {
  struct sigevent event = by_signal(0, 0);
  event.sigev_notify = SIGEV_NONE;
  make(0, CLOCK_MONOTONIC, &event);
  make(1, CLOCK_REALTIME, &event);
  set(0, LONG_S * 1000L, 5000);
  set(1, 10, 0);
}
static void none_has(void) {
  has(0, LONG_S - 60, LONG_S, 5);
  has(1, 0, 0, 0);
}
static pthread_t second;
static pid_t second_id;
static siginfo_t second_info;
static void* second_takes(void* unused) {
  __atomic_store_n(&second_id, gettid(), __ATOMIC_SEQ_CST);
  second_info = take(SIGRTMIN + 3);
  return unused;
}
static void thread_id_set(void) {
  block(SIGRTMIN + 3);
  CHECK(!pthread_create(&second, NULL, second_takes, NULL), "pthread_create");
  while (!__atomic_load_n(&second_id, __ATOMIC_SEQ_CST)) sched_yield();
  struct sigevent event = by_signal(SIGRTMIN + 3, 99);
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_notify_thread_id = second_id;
  make(0, CLOCK_MONOTONIC, &event);
  begun_ns = now_ns(CLOCK_MONOTONIC);
  set(0, SOON_MS, 0);
}
static void thread_id_comes(void) {
  CHECK(!pthread_join(second, NULL), "join");
  lasted(SOON_MS);
  CHECK(second_info.si_code == SI_TIMER && second_info.si_value.sival_int == 99, "value %d",
        second_info.si_value.sival_int);
}
static void thread_gone_set(void) {
  thread_id_set();
  set(0, 1, 0);
  CHECK(!pthread_join(second, NULL), "join");
  set(0, LONG_S * 1000L, 0);
}
static void thread_gone_has(void) { has(0, LONG_S - 60, LONG_S, 0); }
static int called;
static void call_me(union sigval value) {
  __atomic_add_fetch(&called, value.sival_int, __ATOMIC_SEQ_CST);
}
static void sigev_thread_set(void) {
  struct sigevent event = by_signal(0, 5);
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_notify_function = call_me;
  make(0, CLOCK_MONOTONIC, &event);
  begun_ns = now_ns(CLOCK_MONOTONIC);
  set(0, SOON_MS, 100);
}
static void sigev_thread_comes(void) {
  for (int n = 1; n <= 3; n++) {
    while (__atomic_load_n(&called, __ATOMIC_SEQ_CST) < 5 * n) sched_yield();
    lasted(SOON_MS + 100U * (unsigned)(n - 1));
  }
  MUST(timer_delete(timers[0]));
}
// Another thread's CPU time, by a clock that has its id. The kernel looks at such a timer when its
// tick meets the thread, which on a busy machine it may not do within these 300 ms.
static int stop_burning;
static void* burns(void* unused) {
  __atomic_store_n(&second_id, gettid(), __ATOMIC_SEQ_CST);
  while (!__atomic_load_n(&stop_burning, __ATOMIC_SEQ_CST))
    futex(&stop_burning, FUTEX_WAIT_PRIVATE, 0, NULL);
  until_pending(SIGRTMIN + 4);
  return unused;
}
static void other_cpu_set(void) {
  clockid_t clock;
  block(SIGRTMIN + 4);
  CHECK(!pthread_create(&second, NULL, burns, NULL), "pthread_create");
  while (!__atomic_load_n(&second_id, __ATOMIC_SEQ_CST)) sched_yield();
  CHECK(!pthread_getcpuclockid(second, &clock), "pthread_getcpuclockid");
  struct sigevent event = by_signal(SIGRTMIN + 4, 1);
  make(0, clock, &event);
  set(0, 150, 0);
}
static void other_cpu_comes(void) {
  burn(CLOCK_THREAD_CPUTIME_ID, 300);  // ours does not count
  none_left(SIGRTMIN + 4);
  __atomic_store_n(&stop_burning, 1, __ATOMIC_SEQ_CST);
  futex(&stop_burning, FUTEX_WAKE_PRIVATE, 1, NULL);
  CHECK(!pthread_join(second, NULL), "join");
  take(SIGRTMIN + 4);
}
static void cpu_set(void) {
  block(SIGRTMIN + 5);
  struct sigevent event = by_signal(SIGRTMIN + 5, 6);
  make(0, CLOCK_PROCESS_CPUTIME_ID, &event);
  set(0, 150, 0);
}
static void cpu_comes(void) {
  uint64_t begun = now_ns(CLOCK_PROCESS_CPUTIME_ID);
  none_left(SIGRTMIN + 5);
  until_pending(SIGRTMIN + 5);
  // Not much of the 150 ms has been used before.
  uint64_t used_ms = (now_ns(CLOCK_PROCESS_CPUTIME_ID) - begun) / 1000000;
  CHECK(used_ms >= 50, "it came after %llu ms", (unsigned long long)used_ms);
  take(SIGRTMIN + 5);
  none_left(SIGRTMIN + 5);
}
static void expired_set(void) {
  signal_set();
  set(0, 1, 0);
  until_pending(SIGRTMIN + 2);
}
static void expired_comes_once(void) {
  siginfo_t info = take(SIGRTMIN + 2);
  CHECK(info.si_code == SI_TIMER && info.si_value.sival_int == 4711 && info.si_overrun == 0,
        "code %d, value %d, overrun %d", info.si_code, info.si_value.sival_int, info.si_overrun);
  none_left(SIGRTMIN + 2);
  has(0, 0, 0, 0);
}
// At a point in time, to come and past.
static void set_absolute(long s_from_now) {
  struct itimerspec when = {0};
  MUST(clock_gettime(CLOCK_MONOTONIC, &when.it_value));
  when.it_value.tv_sec += s_from_now;
  MUST(timer_settime(timers[0], TIMER_ABSTIME, &when, NULL));
}
static void absolute_set(void) {
  signal_set();
  set_absolute(LONG_S);
}
static void absolute_has(void) { has(0, LONG_S - 600, LONG_S, 0); }
static void past_set(void) {
  signal_set();
  set_absolute(-1);
  until_pending(SIGRTMIN + 2);
}
// Expired, its signal still queued: further expirations are counted, not queued.
static void expired_repeats_set(void) {
  signal_set();
  set(0, 1, 60);
  until_pending(SIGRTMIN + 2);
}
static void expired_repeats(void) {
  siginfo_t info = take(SIGRTMIN + 2);
  begun_ns = now_ns(CLOCK_MONOTONIC);
  CHECK(info.si_code == SI_TIMER && info.si_value.sival_int == 4711 && info.si_overrun >= 0,
        "code %d, value %d, overrun %d", info.si_code, info.si_value.sival_int, info.si_overrun);
  for (unsigned i = 1; i <= 3; i++) {
    info = take(SIGRTMIN + 2);
    CHECK(info.si_value.sival_int == 4711, "value %d", info.si_value.sival_int);
    if (i > 1) lasted(60 * (i - 1));
  }
}
// Real-time signals of one number come in the order in which they were sent, a timer's among them.
static void order_set(void) {
  const int number = SIGRTMIN + 6;
  block(number);
  block(SIGUSR1);
  struct sigevent event = by_signal(number, 2);
  make(0, CLOCK_MONOTONIC, &event);
  MUST(sigqueue(getpid(), number, (union sigval){.sival_int = 1}));
  begun_ns = now_ns(CLOCK_MONOTONIC);
  struct sigevent plain = by_signal(SIGUSR1, 22);
  make(1, CLOCK_MONOTONIC, &plain);
  set(1, 1, 0);
  until_pending(SIGUSR1);
  // Both are queued: a timer's signal is not merged with another of its number.
  plain.sigev_value.sival_int = 23;
  make(2, CLOCK_MONOTONIC, &plain);
  set(2, 1, 0);
  set(0, 1, 0);
  while (now_ns(CLOCK_MONOTONIC) < begun_ns + 200 * 1000000ULL) sched_yield();
  MUST(sigqueue(getpid(), number, (union sigval){.sival_int = 3}));
}
static void order_kept(void) {
  for (int value = 22; value <= 23; value++) {
    siginfo_t info = take(SIGUSR1);
    CHECK(info.si_value.sival_int == value, "value %d instead of %d", info.si_value.sival_int,
          value);
  }
  none_left(SIGUSR1);
  for (int value = 1; value <= 3; value++) {
    siginfo_t info = take(SIGRTMIN + 6);
    CHECK(info.si_value.sival_int == value, "value %d instead of %d", info.si_value.sival_int,
          value);
    CHECK(info.si_code == (value == 2 ? SI_TIMER : SI_QUEUE), "code %d", info.si_code);
  }
  none_left(SIGRTMIN + 6);
}
// Set for later while the signal of its last expiry is still queued.
static void expired_and_set_set(void) {
  expired_set();
  set(0, LONG_S * 1000L, 0);
}
static void expired_and_set(void) { has(0, LONG_S - 60, LONG_S, 0); }
static void overrun_set(void) {
  signal_set();
  set(0, 1, 1);
  until_pending(SIGRTMIN + 2);
  uint64_t end = now_ns(CLOCK_MONOTONIC) + 20000000;
  while (now_ns(CLOCK_MONOTONIC) < end) {
  }
  set(0, 1, 20);
  take(SIGRTMIN + 2);
  end = now_ns(CLOCK_MONOTONIC) + 100000000;
  while (now_ns(CLOCK_MONOTONIC) < end) {
  }
  take(SIGRTMIN + 2);
  CHECK(timer_getoverrun(timers[0]) > 0, "no overrun");
  struct itimerspec now;
  MUST(timer_gettime(timers[0], &now));
}
static void nothing(void) {}

static const struct {
  const char* name;
  void (*set)(void);
  void (*check)(void);
} cases[] = {
    {"itimer_real", real_set, real_has},
    {"itimer_virtual", virtual_set, virtual_has},
    {"itimer_prof", prof_set, prof_has},
    {"alarm", alarm_set, alarm_has},
    {"no_timer", nothing, no_timer_has},
    {"itimer_fires", fires_set, fires_once},
    {"itimer_repeats", repeats_set, repeats},
    {"itimer_cpu_fires", virtual_fires_set, virtual_fires},
    {"itimer_expired", pending_set, pending_once},
    {"itimer_expired_repeats", pending_repeats_set, pending_repeats},
    {"itimer_expired_and_set", pending_and_set_set, pending_and_set},
    {"clocks", clocks_set, clocks_have},
    {"ids", ids_set, ids_have},
    {"many", many_set, many_have},
    {"disarmed", disarmed_set, disarmed_has},
    {"signal", signal_set, signal_comes},
    {"default_event", default_event_set, default_event_comes},
    {"none", none_set, none_has},
    {"thread_id", thread_id_set, thread_id_comes},
    {"thread_gone", thread_gone_set, thread_gone_has},
    {"sigev_thread", sigev_thread_set, sigev_thread_comes},
    {"cpu_of_other", other_cpu_set, other_cpu_comes},
    {"cpu", cpu_set, cpu_comes},
    {"expired", expired_set, expired_comes_once},
    {"absolute", absolute_set, absolute_has},
    {"past", past_set, expired_comes_once},
    {"expired_repeats", expired_repeats_set, expired_repeats},
    {"expired_and_set", expired_and_set_set, expired_and_set},
    {"order", order_set, order_kept},
    {"overrun", overrun_set, nothing},
    {"timerfd", timerfd_set, timerfd_comes},
};
enum { COUNT = sizeof cases / sizeof *cases };

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: proc_timers CASE | --list");
  for (int i = 0; i < COUNT; i++) {
    if (!strcmp(argv[1], "--list")) say("%s", cases[i].name);
    if (strcmp(argv[1], cases[i].name)) continue;
    cases[i].set();
    ready();
    wait_line();
    cases[i].check();
    return pass();
  }
  CHECK(!strcmp(argv[1], "--list"), "no case %s", argv[1]);
  return 0;
}
