// usage: proc_children CASE | --list. Children that live at the save: in a restored program they
// have been killed, and it is told so in the way that it has chosen.
#include "selfcheck.h"

#include <poll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

enum { MOST = 20, RELEASED = 7 };
static pid_t child[MOST];
static int release[2];  // all wait for its end
static volatile sig_atomic_t sigchlds;
static siginfo_t told;

static void on_sigchld(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  told = *info;
  sigchlds++;
}
static void handle(int number) {
  struct sigaction action = {.sa_sigaction = on_sigchld, .sa_flags = SA_SIGINFO | SA_RESTART};
  MUST(sigaction(number, &action, NULL));
}
static void block(int number) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, number);
  MUST(sigprocmask(SIG_BLOCK, &set, NULL));
}
static void wait_for_release(void) {
  char byte;
  close(release[1]);
  _exit(read(release[0], &byte, 1) == 0 ? RELEASED : 99);
}
static pid_t lives(void) {
  pid_t pid;
  MUST(pid = fork());
  if (!pid) wait_for_release();
  return pid;
}

// Whether this is a restored program, whose children are gone. Those of the original end when they
// are let go.
static int is_copy;
static void look(void) {
  struct pollfd end = {.fd = release[1]};
  CHECK(poll(&end, 1, 0) >= 0, "poll");
  is_copy = (end.revents & POLLERR) != 0;  // nobody reads
}
static void let_go(void) {
  look();
  close(release[1]);
}
static void check_end(pid_t pid, int options) {
  int status = 0;
  errno = 0;
  pid_t got = waitpid(pid, &status, options);
  CHECK(got == pid, "waitpid(%d) gives %d: %s", pid, got, strerror(errno));
  if (is_copy)
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %x", status);
  else
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == RELEASED, "status %x", status);
}
static void check_told(const siginfo_t* info, int number, pid_t pid) {
  CHECK(info->si_signo == number && info->si_pid == pid && info->si_uid == getuid(),
        "signal %d of %d", info->si_signo, info->si_pid);
  CHECK(info->si_code == (is_copy ? CLD_KILLED : CLD_EXITED) &&
            info->si_status == (is_copy ? SIGKILL : RELEASED),
        "code %d, status %d", info->si_code, info->si_status);
}
static void none_left(void) {
  CHECK(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD, "there is one more");
}

static void plain_set(void) { child[0] = lives(); }
static void plain_get(void) {
  let_go();
  check_end(child[0], 0);
  none_left();
}
static void many_set(void) {
  handle(SIGCHLD);
  for (int i = 0; i < MOST; i++) child[i] = lives();
}
static void many_get(void) {
  let_go();
  for (int i = 0; i < MOST; i++) check_end(child[i], 0);
  // A signal like this is queued once.
  CHECK(sigchlds >= 1 && (!is_copy || sigchlds == 1), "told %d times", (int)sigchlds);
  none_left();
}
static void handler_set(void) {
  handle(SIGCHLD);
  child[0] = lives();
}
static void handler_get(void) {
  let_go();
  while (!sigchlds) sched_yield();
  check_told(&told, SIGCHLD, child[0]);
  check_end(child[0], 0);
  CHECK(sigchlds == 1, "told %d times", (int)sigchlds);
}
static void blocked_set(void) {
  block(SIGCHLD);
  child[0] = lives();
}
static void blocked_get(void) {
  let_go();
  sigset_t set;
  siginfo_t info;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  CHECK(sigwaitinfo(&set, &info) == SIGCHLD, "sigwaitinfo");
  check_told(&info, SIGCHLD, child[0]);
  check_end(child[0], 0);
}
static int signals = -1;
static void signalfd_set(void) {
  block(SIGCHLD);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  MUST(signals = signalfd(-1, &set, 0));
  child[0] = lives();
}
static void signalfd_get(void) {
  let_go();
  struct signalfd_siginfo info;
  CHECK(read(signals, &info, sizeof info) == sizeof info, "read of a signalfd");
  CHECK(info.ssi_pid == (uint32_t)child[0] && info.ssi_status == (is_copy ? SIGKILL : RELEASED),
        "pid %u, status %d", info.ssi_pid, info.ssi_status);
  check_end(child[0], 0);
}
static void ignored_set(void) {
  signal(SIGCHLD, SIG_IGN);
  child[0] = lives();
}
static void ignored_get(void) {
  let_go();
  CHECK(waitpid(child[0], NULL, 0) == -1 && errno == ECHILD, "it was not collected");
  none_left();
}
static void nocldwait_set(void) {
  struct sigaction action = {.sa_sigaction = on_sigchld,
                             .sa_flags = SA_SIGINFO | SA_RESTART | SA_NOCLDWAIT};
  MUST(sigaction(SIGCHLD, &action, NULL));
  child[0] = lives();
}
static void group_set(void) {
  child[0] = lives();
  MUST(setpgid(child[0], child[0]));
  child[1] = lives();
  MUST(setpgid(child[1], child[0]));
}
static void group_get(void) {
  let_go();
  CHECK(getpgid(child[1]) == child[0], "getpgid gives %d", getpgid(child[1]));
  for (int i = 0; i < 2; i++) {
    int status = 0;
    pid_t got = waitpid(-child[0], &status, 0);
    CHECK(got == child[0] || got == child[1], "waitpid(-%d) gives %d", child[0], got);
    CHECK(is_copy ? WIFSIGNALED(status) : WIFEXITED(status), "status %x", status);
  }
  none_left();
}
// Others may be told of by another signal, or by none.
static pid_t cloned(unsigned long signal_at_end) {
  pid_t pid;
  MUST(pid = (pid_t)syscall(SYS_clone, signal_at_end, NULL, NULL, NULL, 0UL));
  if (!pid) wait_for_release();
  return pid;
}
static void usr1_set(void) {
  handle(SIGUSR1);
  child[0] = cloned(SIGUSR1);
}
static void usr1_get(void) {
  let_go();
  while (!sigchlds) sched_yield();
  check_told(&told, SIGUSR1, child[0]);
  check_end(child[0], __WCLONE);
}
static void unhandled_set(void) { child[0] = cloned(SIGUSR1); }
static void unhandled_get(void) {
  look();
  if (!is_copy) signal(SIGUSR1, SIG_IGN);  // it would die of it
  let_go();
  check_end(child[0], __WCLONE);
}
static void silent_set(void) { child[0] = cloned(0); }
static void silent_get(void) {
  let_go();
  check_end(child[0], __WCLONE);
}
static void beside_set(void) {
  child[0] = lives();
  MUST(child[1] = fork());
  if (!child[1]) _exit(RELEASED);
  siginfo_t info;
  MUST(waitid(P_PID, (id_t)child[1], &info, WEXITED | WNOWAIT));
}
static void beside_get(void) {
  let_go();
  check_end(child[0], 0);
  is_copy = 0;
  check_end(child[1], 0);
  none_left();
}
static void stopped_set(void) {
  child[0] = lives();
  MUST(kill(child[0], SIGSTOP));
  siginfo_t info;
  MUST(waitid(P_PID, (id_t)child[0], &info, WSTOPPED));
}
static void stopped_get(void) {
  let_go();
  if (!is_copy) MUST(kill(child[0], SIGCONT));
  check_end(child[0], 0);
}

// Threads that wait, each in a way of its own, when the program is saved.
enum { WAYS = 6 };
static pthread_t waiter[WAYS];
static pid_t waiter_tid[WAYS];
static int wait_status[WAYS];
static siginfo_t wait_info[WAYS];
static struct rusage usage;
static long wait_in(long way) {
  switch (way) {
    case 0: return waitpid(child[0], &wait_status[0], 0);
    case 1: return waitid(P_PID, (id_t)child[1], &wait_info[1], WEXITED);
    case 2: return waitid(P_PID, (id_t)child[2], &wait_info[2], WEXITED | WNOWAIT);
    case 3: return waitid(P_PID, (id_t)child[3], NULL, WEXITED);
    case 4: return waitpid(-child[4], &wait_status[4], 0);
    default: return wait4(child[5], &wait_status[5], __WALL, &usage);
  }
}
static void* waits(void* argument) {
  const long way = (long)argument;
  __atomic_store_n(&waiter_tid[way], gettid(), __ATOMIC_RELEASE);
  return (void*)wait_in(way);
}
static int is_waiting(pid_t tid) {
  char path[64];
  int number = -1;
  snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
  FILE* file = fopen(path, "r");
  CHECK(file, "%s: %s", path, strerror(errno));
  const int found = fscanf(file, "%d", &number);
  fclose(file);
  return found == 1 && (number == SYS_wait4 || number == SYS_waitid);
}
static void waiting_set(void) {
  for (long i = 0; i < WAYS; i++) {
    child[i] = lives();
    if (i == 4) MUST(setpgid(child[4], child[4]));
  }
  for (long i = 0; i < WAYS; i++) {
    CHECK(!pthread_create(&waiter[i], NULL, waits, (void*)i), "pthread_create");
    while (!__atomic_load_n(&waiter_tid[i], __ATOMIC_ACQUIRE)) sched_yield();
    while (!is_waiting(waiter_tid[i])) sched_yield();
  }
}
static void waiting_get(void) {
  let_go();
  for (int i = 0; i < WAYS; i++) {
    void* got;
    CHECK(!pthread_join(waiter[i], &got), "pthread_join");
    const int is_waitid = i >= 1 && i <= 3;
    CHECK((long)got == (is_waitid ? 0 : child[i]), "wait %d for %d gives %ld", i, child[i],
          (long)got);
    if (i == 1 || i == 2) check_told(&wait_info[i], SIGCHLD, child[i]);
    if (is_waitid) continue;
    const int status = wait_status[i];
    CHECK(is_copy ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL
                  : WIFEXITED(status) && WEXITSTATUS(status) == RELEASED,
          "status %x", status);
  }
  check_end(child[2], 0);
  none_left();
}

// As os/exec of Go waits for a child.
static int by_pidfd = -1;
static void pidfd_set(void) {
  child[0] = lives();
  MUST(by_pidfd = (int)syscall(SYS_pidfd_open, child[0], 0));
}
static void pidfd_get(void) {
  siginfo_t info = {0};
  let_go();
  CHECK(!waitid((idtype_t)3, (id_t)by_pidfd, &info, WEXITED), "waitid(P_PIDFD): %s",
        strerror(errno));
  check_told(&info, SIGCHLD, child[0]);
  none_left();
}

static const struct {
  const char* name;
  void (*set)(void);
  void (*get)(void);
} cases[] = {
    {"plain", plain_set, plain_get},
    {"many", many_set, many_get},
    {"handler", handler_set, handler_get},
    {"blocked", blocked_set, blocked_get},
    {"signalfd", signalfd_set, signalfd_get},
    {"ignored", ignored_set, ignored_get},
    {"nocldwait", nocldwait_set, ignored_get},
    {"group", group_set, group_get},
    {"usr1", usr1_set, usr1_get},
    {"unhandled", unhandled_set, unhandled_get},
    {"silent", silent_set, silent_get},
    {"beside", beside_set, beside_get},
    {"stopped", stopped_set, stopped_get},
    {"waiting", waiting_set, waiting_get},
    {"pidfd", pidfd_set, pidfd_get},
};
enum { COUNT = sizeof cases / sizeof *cases };

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: proc_children CASE | --list");
  MUST(pipe(release));
  for (int i = 0; i < COUNT; i++) {
    if (!strcmp(argv[1], "--list")) say("%s", cases[i].name);
    if (strcmp(argv[1], cases[i].name)) continue;
    cases[i].set();
    close(release[0]);
    ready();
    wait_line();
    cases[i].get();
    return pass();
  }
  CHECK(!strcmp(argv[1], "--list"), "no case %s", argv[1]);
  return 0;
}
