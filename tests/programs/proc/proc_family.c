// usage: proc_family. Children that are made after the save are called one thing by everybody: by
// what makes them, getpid() in them, kill() and waits, blocked or not. As root, with new ids, they
// are given the kernel id that the program had itself at the save, which it remembers as its own.
// usage: proc_family wait. It waits for a child that reads a line; one that was saved meanwhile has
// no child.
#include "../selfcheck.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <spawn.h>
#include <sys/wait.h>

extern char** environ;
enum { OTHER = 1 << 22 };    // what an id that is remembered as another's is shown with
static int self, real_self;  // as the program remembers it, and the kernel's
static int missed;           // somebody else takes the id each time

// The kernel's word, which nothing translates.
static int real_id(void) {
  char text[32] = "";
  const int fd = open("/proc/self/stat", O_RDONLY);
  CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0, "/proc/self/stat");
  close(fd);
  return atoi(text);
}

// Asks the kernel to give the next process the id `self`. It may give it to another program's.
static void aim(void) {
  if (real_self == self) return;
  const int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  dprintf(fd, "%d", self - 1);
  close(fd);
}

static int main_asleep(void) {
  char path[64], text[512] = "";
  snprintf(path, sizeof path, "/proc/%d/stat", real_self);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || read(fd, text, sizeof text - 1) <= 0) _exit(90);
  close(fd);
  const char* state = strrchr(text, ')');
  return state && state[2] == 'S';
}

struct report {
  int shown, real;
};

// In a child: what it is called, then the end, if asked for once the parent waits.
static void in_child(int to, int late) {
  const struct report report = {getpid(), real_id()};
  if (getppid() != self) _exit(91);
  if (write(to, &report, sizeof report) != sizeof report) _exit(92);
  while (late && !main_asleep()) sched_yield();
  _exit(7);
}

static pid_t by_fork(int to, int late) {
  const pid_t made = fork();
  if (!made) in_child(to, late);
  return made;
}
static pid_t by_call(int to, int late) {
  const pid_t made = (pid_t)syscall(SYS_fork);
  if (!made) in_child(to, late);
  return made;
}
static pid_t by_clone3(int to, int late) {
  struct clone_args arguments = {0};
  arguments.exit_signal = SIGCHLD;
  const pid_t made = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
  if (!made) in_child(to, late);
  return made;
}
static pid_t by_vfork(int to, int late) {
  (void)late;
  const pid_t made = vfork();
  if (!made) {
    const struct report report = {getpid(), real_id()};
    if (write(to, &report, sizeof report) != sizeof report) _exit(92);
    _exit(7);
  }
  return made;
}
static int cloned_to, cloned_late;
static int in_clone(void* unused) {
  (void)unused;
  in_child(cloned_to, cloned_late);
  return 0;
}
static pid_t by_clone(int to, int late) {
  static char stack[65536] __attribute__((aligned(16)));
  cloned_to = to;
  cloned_late = late;
  return clone(in_clone, stack + sizeof stack, SIGCHLD, NULL);
}
// The new program knows nothing of a translation: it tells what the kernel calls it.
static pid_t by_spawn(int to, int late) {
  (void)late;
  char number[16];
  snprintf(number, sizeof number, "%d", to);
  char* const words[] = {"proc_family", number, NULL};
  pid_t made = -1;
  const int error = posix_spawn(&made, "/proc/self/exe", NULL, NULL, words, environ);
  CHECK(!error, "posix_spawn: %s", strerror(error));
  return made;
}

static pid_t by_wait4(pid_t child, int* status) { return wait4(child, status, 0, NULL); }
static pid_t by_any(pid_t child, int* status) {
  (void)child;
  return waitpid(-1, status, 0);
}
static pid_t by_wait4_call(pid_t child, int* status) {
  return (pid_t)syscall(SYS_wait4, child, status, 0, NULL);
}
static pid_t by_waitid(pid_t child, int* status) {
  siginfo_t info = {0}, again = {0};
  if (waitid(P_PID, (id_t)child, &again, WEXITED | WNOWAIT)) return -1;
  if (waitid(P_ALL, 0, &info, WEXITED) || info.si_pid != again.si_pid) return -1;
  *status = info.si_status << 8;
  return info.si_pid;
}
static pid_t by_waitid_call(pid_t child, int* status) {
  siginfo_t info = {0};
  if (syscall(SYS_waitid, P_PID, child, &info, WEXITED, NULL)) return -1;
  *status = info.si_status << 8;
  return info.si_pid;
}

typedef pid_t (*maker)(int to, int late);
typedef pid_t (*waiter)(pid_t child, int* status);

static void try(maker make, waiter wait_for, int late, int execs) {
  // Somebody else may have taken the id, or the next one that the kernel gave.
  for (int times = 0; times < 50; times++) {
    int ends[2], status = 0;
    struct report report;
    MUST(pipe(ends));
    aim();
    const pid_t made = make(ends[1], late);
    CHECK(made > 0, "a child: %s", strerror(errno));
    CHECK(read(ends[0], &report, sizeof report) == sizeof report, "no report");
    const int collides = report.real == self;
    CHECK(made != self, "a child is called as its parent is, %d", made);
    CHECK(execs || made == report.shown, "made as %d, calls itself %d", made, report.shown);
    // The id of its parent or of another thread may be remembered, too.
    CHECK(made == report.real || made == report.real + OTHER, "made as %d, is %d", made,
          report.real);
    CHECK(!kill(made, 0), "kill(%d): %s", made, strerror(errno));
    CHECK(getpgid(made) == getpgrp(), "its group is %d", getpgid(made));
    const pid_t got = wait_for(made, &status);
    CHECK(got == made, "made as %d, waited for as %d: %s", made, got, strerror(errno));
    CHECK(status == 7 << 8, "status %x", status);
    CHECK(kill(made, 0) == -1 && errno == ESRCH, "it is still there");
    close(ends[0]);
    close(ends[1]);
    if (collides || real_self == self || access("/proc/sys/kernel/ns_last_pid", W_OK)) return;
  }
  missed = 1;
}

static int waits(void) {
  int status = 0;
  self = getpid();
  ready();
  wait_line();
  pid_t child;
  MUST(child = fork());
  if (!child) {
    wait_line();
    _exit(7);
  }
  say("WAITS");
  const pid_t got = waitpid(child, &status, 0);
  CHECK(got == child, "waitpid(%d) gives %d: %s", child, got, strerror(errno));
  CHECK(status == 7 << 8 || status == SIGKILL, "status %x", status);
  CHECK(getpid() == self, "another id");
  say(status == SIGKILL ? "A KILLED CHILD" : "A CHILD");
  return pass();
}

int main(int count, char** words) {
  if (count > 1 && !strcmp(words[1], "wait")) return waits();
  if (count > 1) {
    const struct report report = {0, real_id()};
    return write(atoi(words[1]), &report, sizeof report) == sizeof report ? 7 : 93;
  }
  self = getpid();
  ready();
  wait_line();
  real_self = real_id();
  const maker makers[] = {by_fork, by_call, by_clone3, by_vfork, by_clone, by_spawn};
  const waiter waiters[] = {by_wait4, by_any, by_wait4_call, by_waitid, by_waitid_call};
  for (size_t i = 0; i < sizeof waiters / sizeof *waiters; i++)
    for (int late = 0; late < 2; late++) try(by_fork, waiters[i], late, 0);
  for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
    const int in_order = makers[i] == by_fork || makers[i] == by_call || makers[i] == by_clone;
    try(makers[i], by_wait4, in_order, makers[i] == by_spawn);
  }
  const int status = system("exit 3");
  CHECK(status == 3 << 8, "system: %x", status);
  if (!missed && real_self != self && !access("/proc/sys/kernel/ns_last_pid", W_OK))
    say("COLLIDED");
  return pass();
}
