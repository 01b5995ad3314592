// usage: proc_zombies CASE | --list. Children that have ended and were not waited for: a wait after
// the restore gets their exit status, under the id that the program knows, and no SIGCHLD comes
// that had come before.
#include "selfcheck.h"

#include <sys/resource.h>
#include <sys/wait.h>

enum { MANY = 100 };
static pid_t child[MANY];
static volatile sig_atomic_t sigchlds;

static void on_sigchld(int number) {
  (void)number;
  sigchlds++;
}
static void until_ended(pid_t pid) {
  siginfo_t info;
  MUST(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | __WALL));
}
static int code_of(int i) { return (int)(pattern(seed(), (uint64_t)i) % 256); }
static pid_t ends_with(int status) {
  pid_t pid;
  MUST(pid = fork());
  if (!pid) _exit(status);
  until_ended(pid);
  return pid;
}
static pid_t dies_of(int number) {
  pid_t pid;
  MUST(pid = fork());
  if (!pid) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    signal(number, SIG_DFL);
    raise(number);
    _exit(99);
  }
  until_ended(pid);
  return pid;
}
static void expect_exit(pid_t target, pid_t pid, int status) {
  int got_status = -1;
  errno = 0;
  pid_t got = waitpid(target, &got_status, 0);
  CHECK(got == pid, "waitpid(%d) gives %d instead of %d: %s", target, got, pid, strerror(errno));
  CHECK(WIFEXITED(got_status) && WEXITSTATUS(got_status) == status, "status %x instead of %d",
        got_status, status);
}
static void none_left(void) {
  errno = 0;
  pid_t got = waitpid(-1, NULL, WNOHANG | __WALL);
  CHECK(got == -1 && errno == ECHILD, "there is one more: %d, %s", got, strerror(errno));
}

static void codes_set(void) {
  for (int i = 0; i < 5; i++) child[i] = ends_with(i == 0 ? 0 : code_of(i));
}
static void codes_get(void) {
  for (int i = 4; i >= 0; i--) {
    CHECK(!kill(child[i], 0), "kill(%d, 0): %s", child[i], strerror(errno));
    expect_exit(child[i], child[i], i == 0 ? 0 : code_of(i));
    CHECK(kill(child[i], 0) == -1 && errno == ESRCH, "child %d is still there", child[i]);
    CHECK(waitpid(child[i], NULL, 0) == -1 && errno == ECHILD, "child %d is there twice", child[i]);
  }
  none_left();
}
static const int signals[] = {SIGKILL, SIGSEGV, SIGTERM, SIGABRT, SIGHUP, SIGPIPE, SIGUSR1, SIGALRM};
enum { SIGNALS = sizeof signals / sizeof *signals };
static void killed_set(void) {
  for (int i = 0; i < SIGNALS; i++) child[i] = dies_of(signals[i]);
  child[SIGNALS] = dies_of(SIGRTMIN + 5);
  // What the program itself does with them is nothing to its children.
  for (int i = 0; i < SIGNALS; i++)
    if (signals[i] != SIGKILL) signal(signals[i], i % 2 ? SIG_IGN : on_sigchld);
}
static void killed_get(void) {
  for (int i = 0; i <= SIGNALS; i++) {
    int status = 0, number = i < SIGNALS ? signals[i] : SIGRTMIN + 5;
    pid_t got = waitpid(child[i], &status, 0);
    CHECK(got == child[i] && WIFSIGNALED(status) && WTERMSIG(status) == number && !WCOREDUMP(status),
          "waitpid gives %d, status %x; it died of %d", got, status, number);
  }
  none_left();
}
static void any_get(void) {
  int seen = 0;
  for (int n = 0; n < 5; n++) {
    int status = 0;
    pid_t got = wait(&status);
    for (int i = 0; i < 5; i++)
      if (got == child[i]) {
        CHECK(WEXITSTATUS(status) == (i == 0 ? 0 : code_of(i)), "status %x of %d", status, i);
        seen |= 1 << i;
      }
  }
  CHECK(seen == 31, "children %x of 1f", seen);
  none_left();
}
static void waitid_get(void) {
  for (int i = 0; i < 5; i++) {
    siginfo_t info;
    struct rusage usage;
    for (int n = 0; n < 3; n++) {
      memset(&info, 0, sizeof info);
      int options = WEXITED | (n < 2 ? WNOWAIT : 0);
      // The third is the raw call with its fifth argument.
      long result = n == 1 ? syscall(SYS_waitid, P_PID, child[i], &info, options, &usage)
                           : waitid(P_PID, (id_t)child[i], &info, options);
      CHECK(!result, "waitid: %s", strerror(errno));
      CHECK(info.si_signo == SIGCHLD && info.si_code == CLD_EXITED && info.si_pid == child[i] &&
                info.si_status == (i == 0 ? 0 : code_of(i)) && info.si_uid == getuid(),
            "code %d, pid %d, status %d", info.si_code, info.si_pid, info.si_status);
    }
  }
  CHECK(waitid(P_ALL, 0, NULL, WEXITED) == -1 && errno == ECHILD, "there is one more");
}
static void raw_get(void) {
  for (int i = 0; i < 5; i++) {
    int status = 0;
    struct rusage usage;
    long got = syscall(SYS_wait4, i % 2 ? -1 : child[i], &status, 0, &usage);
    CHECK(got == child[i] && WEXITSTATUS(status) == (i == 0 ? 0 : code_of(i)), "%ld, status %x", got,
          status);
  }
  none_left();
}
static void wait3_get(void) {
  for (int i = 0; i < 5; i++) {
    int status = 0;
    pid_t got = i % 2 ? wait3(&status, 0, NULL) : wait4(child[i], &status, WUNTRACED, NULL);
    CHECK(got == child[i] && WEXITSTATUS(status) == (i == 0 ? 0 : code_of(i)), "%d, status %x", got,
          status);
  }
  none_left();
}
// A job of a shell: two processes in a group that one of them has made.
static void group_set(void) {
  child[0] = ends_with(1);
  for (int i = 1; i <= 2; i++) {
    int go[2];
    MUST(pipe(go));
    MUST(child[i] = fork());
    if (!child[i]) {
      char byte;
      close(go[1]);
      _exit(read(go[0], &byte, 1) == 0 ? 10 + i : 99);
    }
    MUST(setpgid(child[i], child[1]));
    if (i == 2) child[3] = go[1];
    close(go[0]);
    if (i == 1) child[4] = go[1];
  }
  close(child[3]);
  close(child[4]);
  until_ended(child[1]);
  until_ended(child[2]);
}
static void group_get(void) {
  CHECK(getpgid(child[2]) == child[1], "getpgid gives %d", getpgid(child[2]));
  int sum = 0;
  for (int i = 0; i < 2; i++) {
    int status = 0;
    pid_t got = waitpid(-child[1], &status, 0);
    CHECK(got == child[1] || got == child[2], "waitpid(-%d) gives %d", child[1], got);
    CHECK(WEXITSTATUS(status) == (got == child[1] ? 11 : 12), "status %x", status);
    sum += WEXITSTATUS(status);
  }
  CHECK(sum == 23, "one came twice");
  CHECK(waitpid(-child[1], NULL, 0) == -1 && errno == ECHILD, "there is one more in the group");
  expect_exit(-getpgrp(), child[0], 1);
  none_left();
}
static void session_set(void) {
  MUST(child[0] = fork());
  if (!child[0]) _exit(setsid() == -1 ? 99 : 3);
  until_ended(child[0]);
}
static void session_get(void) {
  CHECK(getsid(child[0]) == child[0], "getsid gives %d instead of %d", getsid(child[0]), child[0]);
  expect_exit(-child[0], child[0], 3);
  none_left();
}
static void pending_set(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  MUST(sigprocmask(SIG_BLOCK, &set, NULL));
  child[0] = ends_with(7);
}
static void pending_get(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  siginfo_t info;
  struct timespec none = {0, 0};
  CHECK(sigtimedwait(&set, &info, &none) == SIGCHLD, "SIGCHLD is gone");
  CHECK(info.si_pid == child[0] && info.si_status == 7 && info.si_code == CLD_EXITED, "its siginfo");
  CHECK(sigtimedwait(&set, &info, &none) == -1, "SIGCHLD is there twice");
  expect_exit(info.si_pid, child[0], 7);
}
static void taken_set(void) {
  struct sigaction action = {.sa_handler = on_sigchld, .sa_flags = SA_RESTART};
  MUST(sigaction(SIGCHLD, &action, NULL));
  for (int i = 0; i < 3; i++) {
    child[i] = ends_with(i);
    while (sigchlds <= i) sched_yield();
  }
}
static void taken_get(void) {
  CHECK(sigchlds == 3, "SIGCHLD came %d times", (int)sigchlds);
  for (int i = 0; i < 3; i++) expect_exit(-1, child[i], i);
  CHECK(sigchlds == 3, "SIGCHLD came %d times", (int)sigchlds);
  // One that is made now is as any other.
  pid_t more = ends_with(33);
  while (sigchlds == 3) sched_yield();
  expect_exit(more, more, 33);
}
static void* ends_late(void* argument) {
  char byte = 'x';
  CHECK(write((int)(intptr_t)argument, &byte, 1) == 1, "write");
  return NULL;
}
// New children beside the old ones; a wait for one of them blocks.
static void later_get(void) {
  int go[2];
  pthread_t thread;
  pid_t more;
  MUST(pipe(go));
  MUST(more = fork());
  if (!more) {
    char byte;
    _exit(read(go[0], &byte, 1) == 1 ? 44 : 99);
  }
  CHECK(!waitpid(more, NULL, WNOHANG), "it has ended");
  int status = 0;
  expect_exit(-1, child[0], 0);
  CHECK(!pthread_create(&thread, NULL, ends_late, (void*)(intptr_t)go[1]), "pthread_create");
  expect_exit(more, more, 44);
  CHECK(!pthread_join(thread, NULL), "join");
  status = system("exit 3");
  CHECK(WEXITSTATUS(status) == 3, "system: %x", status);
  for (int i = 1; i < 5; i++) expect_exit(-1, child[i], code_of(i));
  more = ends_with(9);
  expect_exit(-1, more, 9);
  none_left();
}
static void many_set(void) {
  for (int i = 0; i < MANY; i++) child[i] = ends_with(i);
}
static void many_get(void) {
  for (int i = MANY; i-- > 0;) expect_exit(child[i], child[i], i);
  none_left();
}
// Made by clone without a signal at its end: only __WALL or __WCLONE finds it.
static void clone_set(void) {
  MUST(child[0] = (pid_t)syscall(SYS_clone, 0UL, NULL, NULL, NULL, 0UL));
  if (!child[0]) _exit(21);
  until_ended(child[0]);
}
static void clone_get(void) {
  CHECK(waitpid(child[0], NULL, WNOHANG) == -1 && errno == ECHILD, "it is an ordinary child");
  int status = 0;
  CHECK(waitpid(child[0], &status, __WCLONE) == child[0] && WEXITSTATUS(status) == 21, "status %x",
        status);
}
static void in_thread_get(void);
static void* waits_in_thread(void* unused) {
  any_get();
  return unused;
}
static void in_thread_get(void) {
  pthread_t thread;
  CHECK(!pthread_create(&thread, NULL, waits_in_thread, NULL) && !pthread_join(thread, NULL),
        "a thread");
}
static void user_set(void) {
  if (geteuid()) SKIP("needs root");
  MUST(child[0] = fork());
  if (!child[0]) {
    MUST(setuid(65534));
    _exit(3);
  }
  until_ended(child[0]);
}
static void user_get(void) {
  siginfo_t info;
  MUST(waitid(P_PID, (id_t)child[0], &info, WEXITED));
  CHECK(info.si_uid == 65534 && info.si_status == 3, "si_uid is %d", (int)info.si_uid);
}

static const struct {
  const char* name;
  void (*set)(void);
  void (*get)(void);
} cases[] = {
    {"codes", codes_set, codes_get},      {"killed", killed_set, killed_get},
    {"any", codes_set, any_get},          {"waitid", codes_set, waitid_get},
    {"raw", codes_set, raw_get},          {"wait3", codes_set, wait3_get},
    {"group", group_set, group_get},      {"sigchld_pending", pending_set, pending_get},
    {"session", session_set, session_get},
    {"sigchld_taken", taken_set, taken_get}, {"later", codes_set, later_get},
    {"many", many_set, many_get},         {"clone", clone_set, clone_get},
    {"in_thread", codes_set, in_thread_get}, {"user", user_set, user_get},
};
enum { COUNT = sizeof cases / sizeof *cases };

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: proc_zombies CASE | --list");
  for (int i = 0; i < COUNT; i++) {
    if (!strcmp(argv[1], "--list")) say("%s", cases[i].name);
    if (strcmp(argv[1], cases[i].name)) continue;
    cases[i].set();
    ready();
    wait_line();
    cases[i].get();
    return pass();
  }
  CHECK(!strcmp(argv[1], "--list"), "no case %s", argv[1]);
  return 0;
}
