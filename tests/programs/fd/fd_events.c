// eventfd, timerfd, signalfd, pidfd.
#include "fd.h"

#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static int fd = -1, other = -1;

static uint64_t take(void) {
  uint64_t value = 0;
  CHECK(read(fd, &value, 8) == 8, "read: %s", strerror(errno));
  return value;
}

// ---- eventfd
static void count(void) { MUST(fd = eventfd(300, EFD_CLOEXEC)); }
static void check_count(void) {
  CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC, "close-on-exec");
  CHECK(!(fcntl(fd, F_GETFL) & O_NONBLOCK), "O_NONBLOCK");
  uint64_t value = take();
  CHECK(value == 300, "%llu", (unsigned long long)value);
  expect_nothing(fd);
}
static void large_count(void) {
  uint64_t value = 0xfffffffffffffffeULL;
  MUST(fd = eventfd(0, EFD_NONBLOCK));
  CHECK(write(fd, &value, 8) == 8, "set-up: write");
}
static void check_large_count(void) {
  uint64_t one = 1;
  CHECK(write(fd, &one, 8) == -1 && errno == EAGAIN, "the counter is not full");
  CHECK(take() == 0xfffffffffffffffeULL, "value");
}
static void semaphore(void) { MUST(fd = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK)); }
static void check_semaphore(void) {
  uint64_t value;
  for (int i = 0; i < 3; i++) CHECK(take() == 1, "step %d", i);
  CHECK(read(fd, &value, 8) == -1 && errno == EAGAIN, "a fourth step");
}
static void empty_count(void) { MUST(fd = eventfd(0, EFD_NONBLOCK)); }
static void check_empty_count(void) {
  uint64_t value;
  CHECK(read(fd, &value, 8) == -1 && errno == EAGAIN, "not empty");
}
static void duplicate(void) {
  MUST(fd = eventfd(7, 0));
  MUST(other = dup(fd));
}
static void check_duplicate(void) {
  CHECK(take() == 7, "value");
  fd = other;
  expect_nothing(other);
  MUST(fcntl(other, F_SETFL, O_NONBLOCK));
  CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK, "flags are not shared");
}
static void* wait_for_event(void* unused) {
  (void)unused;
  return (void*)(long)take();
}
static void blocked_reader(void) {
  MUST(fd = eventfd(0, 0));
  begin_helper(wait_for_event);
}
static void check_blocked_reader(void) {
  uint64_t value = 42;
  CHECK(write(fd, &value, 8) == 8, "write");
  CHECK(end_helper() == 42, "what the waiting thread has read");
}

// ---- timerfd
static struct timespec begun;
static double elapsed(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (double)(now.tv_sec - begun.tv_sec) + (double)(now.tv_nsec - begun.tv_nsec) / 1e9;
}
static void arm(clockid_t clock, int flags, double value, double interval) {
  struct itimerspec when = {0};
  MUST(fd = timerfd_create(clock, TFD_CLOEXEC));
  clock_gettime(clock, &begun);
  if (flags & TFD_TIMER_ABSTIME) when.it_value = begun;
  when.it_value.tv_sec += (time_t)value;
  when.it_value.tv_nsec += (long)((value - (double)(time_t)value) * 1e9);
  if (when.it_value.tv_nsec >= 1000000000)
    when.it_value.tv_sec++, when.it_value.tv_nsec -= 1000000000;
  when.it_interval.tv_sec = (time_t)interval;
  when.it_interval.tv_nsec = (long)((interval - (double)(time_t)interval) * 1e9);
  MUST(timerfd_settime(fd, flags, &when, NULL));
}
static void relative(void) { arm(CLOCK_MONOTONIC, 0, 3600, 0); }
static void check_relative(void) {
  struct itimerspec now;
  MUST(timerfd_gettime(fd, &now));
  CHECK(now.it_value.tv_sec <= 3600 && now.it_value.tv_sec > 3000, "%ld s remain",
        (long)now.it_value.tv_sec);
  CHECK(now.it_interval.tv_sec == 0 && now.it_interval.tv_nsec == 0, "an interval");
  CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC, "close-on-exec");
  expect_nothing(fd);
}
static void interval(void) { arm(CLOCK_BOOTTIME, 0, 3600, 7.25); }
static void check_interval(void) {
  struct itimerspec now;
  MUST(timerfd_gettime(fd, &now));
  CHECK(now.it_value.tv_sec > 3000, "%ld s remain", (long)now.it_value.tv_sec);
  CHECK(now.it_interval.tv_sec == 7 && now.it_interval.tv_nsec == 250000000, "the interval");
}
static void short_timer(void) { arm(CLOCK_MONOTONIC, 0, 0.3, 0.3); }
static void check_short_timer(void) {
  // However long the program was away, it is told of at least one expiration, and of more later.
  CHECK(take() >= 1, "expirations");
  CHECK(take() >= 1, "expirations");
}
static void expired(void) {
  arm(CLOCK_MONOTONIC, 0, 0.001, 0);
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  MUST(poll(&ready, 1, -1));
}
// Expired and not read: an interval timer goes on when it is.
static void expired_interval(void) {
  arm(CLOCK_MONOTONIC, 0, 0.001, 0.2);
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  MUST(poll(&ready, 1, -1));
}
static void check_expired(void) {
  CHECK(readable(fd), "the expiration is gone");
  CHECK(take() == 1, "expirations");
  expect_nothing(fd);
}
static void past(void) {
  arm(CLOCK_MONOTONIC, TFD_TIMER_ABSTIME, -1, 0);
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  MUST(poll(&ready, 1, -1));
}
static void disarmed(void) { MUST(fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)); }
static void check_disarmed(void) {
  uint64_t value;
  struct itimerspec now;
  MUST(timerfd_gettime(fd, &now));
  CHECK(!now.it_value.tv_sec && !now.it_value.tv_nsec, "it runs");
  CHECK(read(fd, &value, 8) == -1 && errno == EAGAIN, "it has expired");
}
static void absolute(void) { arm(CLOCK_REALTIME, TFD_TIMER_ABSTIME, 3600, 0); }
static void check_absolute(void) {
  struct itimerspec now;
  MUST(timerfd_gettime(fd, &now));
  double left = (double)now.it_value.tv_sec + (double)now.it_value.tv_nsec / 1e9;
  double sum = elapsed(CLOCK_REALTIME) + left;
  CHECK(sum > 3599 && sum < 3601, "it expires %.3f s after it was set", sum);
}
// With the flag for it, which shows, and with the times that were left.
static void absolute_monotonic(void) { arm(CLOCK_MONOTONIC, TFD_TIMER_ABSTIME, 3600, 7); }
static void check_absolute_monotonic(void) {
  char name[50], text[500] = "";
  struct itimerspec now;
  MUST(timerfd_gettime(fd, &now));
  CHECK(now.it_value.tv_sec > 3000 && now.it_value.tv_sec < 3600 && now.it_interval.tv_sec == 7,
        "%ld s left", now.it_value.tv_sec);
  snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
  int info = open(name, O_RDONLY);
  CHECK(read(info, text, sizeof text - 1) > 0, "fdinfo");
  CHECK(strstr(text, "settime flags: 01\n"), "%s", text);
}
static void* wait_for_timer(void* unused) {
  (void)unused;
  return (void*)(long)take();
}
static void blocked_timer(void) {
  arm(CLOCK_MONOTONIC, 0, 1000, 0);
  begin_helper(wait_for_timer);
}
static void check_blocked_timer(void) {
  struct itimerspec left, soon = {.it_value = {.tv_nsec = 1}};
  MUST(timerfd_gettime(fd, &left));
  CHECK(left.it_value.tv_sec > 0 && left.it_value.tv_sec < 1000, "%ld s", left.it_value.tv_sec);
  // What the thread waits for is this timer, whenever it expires.
  MUST(timerfd_settime(fd, 0, &soon, NULL));
  CHECK(end_helper() == 1, "the waiting thread");
}

// ---- signalfd
static void block(int first, int second) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, first);
  if (second) sigaddset(&set, second);
  MUST(fd = signalfd(-1, &set, SFD_NONBLOCK));
  sigprocmask(SIG_BLOCK, &set, NULL);
}
static void signals(void) { block(SIGUSR1, SIGRTMIN + 3); }
static void check_signals(void) {
  struct signalfd_siginfo info;
  CHECK(read(fd, &info, sizeof info) == -1 && errno == EAGAIN, "a signal");
  union sigval value = {.sival_int = 4711};
  MUST(sigqueue(getpid(), SIGRTMIN + 3, value));
  CHECK(read(fd, &info, sizeof info) == sizeof info, "read: %s", strerror(errno));
  CHECK((int)info.ssi_signo == SIGRTMIN + 3 && info.ssi_int == 4711, "signal %u", info.ssi_signo);
  MUST(raise(SIGUSR1));
  CHECK(read(fd, &info, sizeof info) == sizeof info && info.ssi_signo == SIGUSR1, "SIGUSR1");
}
static void pending_signal(void) {
  block(SIGUSR2, 0);
  union sigval value = {.sival_int = 99};
  MUST(sigqueue(getpid(), SIGUSR2, value));
}
static void check_pending_signal(void) {
  struct signalfd_siginfo info;
  CHECK(read(fd, &info, sizeof info) == sizeof info, "the signal is gone: %s", strerror(errno));
  CHECK(info.ssi_signo == SIGUSR2 && info.ssi_int == 99, "signal %u", info.ssi_signo);
}

// ---- pidfd
static void pidfd(void) { MUST(fd = (int)syscall(SYS_pidfd_open, getpid(), 0)); }
static void check_pidfd(void) {
  CHECK(!readable(fd), "the process has ended, it says");
  CHECK(!syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), "pidfd_send_signal: %s", strerror(errno));
  int copy = (int)syscall(SYS_pidfd_getfd, fd, 1, 0);
  CHECK(copy >= 0, "pidfd_getfd: %s", strerror(errno));
}
// Of a child that has ended: waited for, or not.
static void pidfd_of_child(int waited) {
  int to_child[2];
  char byte;
  MUST(pipe(to_child));
  const pid_t child = fork();
  MUST(child);
  if (child == 0) {
    close(to_child[1]);
    _exit(read(to_child[0], &byte, 1) == 0 ? 7 : 1);
  }
  MUST(fd = (int)syscall(SYS_pidfd_open, child, 0));
  close(to_child[0]);
  close(to_child[1]);
  siginfo_t info;
  MUST(waitid(P_PID, (id_t)child, &info, WEXITED | (waited ? 0 : WNOWAIT)));
}
static void pidfd_zombie(void) { pidfd_of_child(0); }
static void check_pidfd_zombie(void) {
  siginfo_t info = {0};
  CHECK(readable(fd), "the child has not ended, it says");
  CHECK(!waitid((idtype_t)3, (id_t)fd, &info, WEXITED), "waitid(P_PIDFD): %s", strerror(errno));
  CHECK(info.si_code == CLD_EXITED && info.si_status == 7, "status %d", info.si_status);
}
static void pidfd_ended(void) { pidfd_of_child(1); }
static void check_pidfd_ended(void) {
  CHECK(readable(fd), "the child has not ended, it says");
  CHECK(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) == -1 && errno == ESRCH,
        "pidfd_send_signal: %s", strerror(errno));
}
// Two of one process, and one of another: since Linux 6.9 their inodes tell.
static int same[3], inodes_before;
static int inodes(void) {
  struct stat one, two, other;
  MUST(fstat(same[0], &one));
  MUST(fstat(same[1], &two));
  MUST(fstat(same[2], &other));
  return (one.st_ino == two.st_ino) + 2 * (one.st_ino == other.st_ino);
}
static void pidfd_same(void) {
  for (int i = 0; i < 2; i++) {
    const pid_t child = fork();
    MUST(child);
    if (child == 0) {
      pause();
      _exit(0);
    }
    MUST(same[2 * i] = (int)syscall(SYS_pidfd_open, child, 0));
    if (i == 0) MUST(same[1] = (int)syscall(SYS_pidfd_open, child, 0));
    MUST(kill(child, SIGKILL));
    MUST(waitpid(child, NULL, 0));
  }
  inodes_before = inodes();
}
static void check_pidfd_same(void) {
  CHECK(inodes() == inodes_before, "%d, and were %d", inodes(), inodes_before);
}

int main(int argc, char** argv) {
  static const struct subject subjects[] = {
      {"eventfd_count", count, check_count},
      {"eventfd_full", large_count, check_large_count},
      {"eventfd_semaphore", semaphore, check_semaphore},
      {"eventfd_empty", empty_count, check_empty_count},
      {"eventfd_duplicate", duplicate, check_duplicate},
      {"eventfd_blocked_reader", blocked_reader, check_blocked_reader},
      {"timerfd_relative", relative, check_relative},
      {"timerfd_interval", interval, check_interval},
      {"timerfd_short", short_timer, check_short_timer},
      {"timerfd_expired", expired, check_expired},
      {"timerfd_expired_interval", expired_interval, check_short_timer},
      {"timerfd_past", past, check_expired},
      {"timerfd_disarmed", disarmed, check_disarmed},
      {"timerfd_absolute", absolute, check_absolute},
      {"timerfd_absolute_monotonic", absolute_monotonic, check_absolute_monotonic},
      {"timerfd_blocked_reader", blocked_timer, check_blocked_timer},
      {"signalfd_mask", signals, check_signals},
      {"signalfd_pending", pending_signal, check_pending_signal},
      {"pidfd_self", pidfd, check_pidfd},
      {"pidfd_zombie", pidfd_zombie, check_pidfd_zombie},
      {"pidfd_ended", pidfd_ended, check_pidfd_ended},
      {"pidfd_same", pidfd_same, check_pidfd_same},
      {NULL, NULL, NULL}};
  return run_subject(argc, argv, subjects);
}
