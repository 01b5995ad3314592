// usage: proc_clocks keep | behind | sleep. Clocks after a restore, by what the program saw before:
//   keep    CLOCK_MONOTONIC and CLOCK_BOOTTIME go on from where they were, by the vdso and by the
//           system call, in every thread and in a child
//   sleep   so does a sleep until a point in time that was near at the save, and a timer
//   print   prints the difference between the clock and what it was, in seconds
#include "selfcheck.h"

#include <sys/timerfd.h>
#include <sys/wait.h>

static uint64_t before[3];
static const clockid_t clocks[3] = {CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW};
enum {
  MOST_S = 60
};  // far less than the time by which the test has the clocks of the machine differ

static uint64_t raw_ns(clockid_t clock) {
  struct timespec time;
  MUST(syscall(SYS_clock_gettime, clock, &time));
  return (uint64_t)time.tv_sec * 1000000000ULL + (uint64_t)time.tv_nsec;
}
static void look(void) {
  for (int i = 0; i < 3; i++) before[i] = now_ns(clocks[i]);
}
static void check(const char* where) {
  for (int i = 0; i < 3; i++) {
    uint64_t now = now_ns(clocks[i]), raw = raw_ns(clocks[i]);
    CHECK(now >= before[i] && now - before[i] < MOST_S * 1000000000ULL,
          "%s: clock %d went from %llu to %llu ns", where, clocks[i], (unsigned long long)before[i],
          (unsigned long long)now);
    CHECK(raw >= now && raw - now < 5000000000ULL, "%s: the vdso tells %llu, the kernel %llu ns",
          where, (unsigned long long)now, (unsigned long long)raw);
  }
}
static void* in_thread(void* unused) {
  check("thread");
  return unused;
}

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: proc_clocks keep | sleep | print");
  look();
  struct timespec until = {(time_t)(before[0] / 1000000000ULL) + 2,
                           (long)(before[0] % 1000000000ULL)};
  uint64_t realtime = now_ns(CLOCK_REALTIME);
  if (!strcmp(argv[1], "sleep")) {
    ready();
    // Saved while it sleeps.
    int error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    CHECK(!error, "clock_nanosleep: %s", strerror(error));
    CHECK(now_ns(CLOCK_MONOTONIC) >= before[0] + 2000000000ULL, "too short");
    check("after the sleep");
    until.tv_sec++;
    int fd;
    MUST(fd = timerfd_create(CLOCK_BOOTTIME, 0));
    uint64_t deadline = before[1] + 2500000000ULL, expirations;
    struct itimerspec when = {
        {0, 0}, {(time_t)(deadline / 1000000000ULL), (long)(deadline % 1000000000ULL)}};
    MUST(timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL));
    CHECK(read(fd, &expirations, 8) == 8, "timerfd");
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_condattr_t attributes;
    pthread_cond_t condition;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&condition, &attributes);
    pthread_mutex_lock(&mutex);
    CHECK(pthread_cond_timedwait(&condition, &mutex, &until) == ETIMEDOUT, "cond_timedwait");
    CHECK(now_ns(CLOCK_MONOTONIC) >= before[0] + 3000000000ULL, "too short");
    return pass();
  }
  ready();
  wait_line();
  if (!strcmp(argv[1], "print")) {
    say("MONOTONIC %lld", (long long)(now_ns(CLOCK_MONOTONIC) - before[0]) / 1000000000LL);
    return pass();
  }
  check("main thread");
  CHECK(now_ns(CLOCK_REALTIME) >= realtime, "CLOCK_REALTIME went back");
  pthread_t thread;
  CHECK(!pthread_create(&thread, NULL, in_thread, NULL) && !pthread_join(thread, NULL), "thread");
  pid_t child;
  int status;
  MUST(child = fork());
  if (!child) {
    check("child");
    _exit(0);
  }
  CHECK(waitpid(child, &status, 0) == child && status == 0, "the child");
  return pass();
}
