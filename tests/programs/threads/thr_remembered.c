// usage: thr_remembered [KINDS]. The program stores its ids before the save and uses them after it:
// they are still its own, and what it does with them reaches its own threads and nobody else.
#include "thr.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

static int pid, main_tid, worker_tid, parent, group, session, spare_tid;
static volatile sig_atomic_t on_main, on_worker, value;

static void handler(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  if (info->si_code == SI_QUEUE) value = info->si_value.sival_int;
  // The kernel's own word for it; gettid() is among what is tested.
  if (gettid() == main_tid) on_main++;
  if (gettid() == worker_tid) on_worker++;
}

static void* work(void* unused) {
  worker_tid = gettid();
  thr_arrive();
  thr_pass_gate(1);
  CHECK(gettid() == worker_tid, "the thread's gettid() is %d, was %d", gettid(), worker_tid);
  CHECK(syscall(SYS_gettid) == worker_tid, "syscall(SYS_gettid) is another");
  CHECK(getpid() == pid, "getpid() on a thread");
  thr_arrive();
  thr_pass_gate(2);
  return unused;
}

static void* spare(void* unused) {
  spare_tid = gettid();
  thr_arrive();
  return unused;
}

static void until(volatile sig_atomic_t* count, int wanted, const char* what) {
  for (long i = 0; i < 1000000000L && *count < wanted; i++) sched_yield();
  CHECK(*count == wanted, "%s: %d signals, not %d", what, (int)*count, wanted);
}

static void signals(void) {
  MUST(kill(pid, SIGUSR1));  // blocked in the worker
  until(&on_main, 1, "kill");
  MUST(tgkill(pid, worker_tid, SIGUSR2));
  until(&on_worker, 1, "tgkill");
  MUST(syscall(SYS_tgkill, pid, worker_tid, SIGUSR2));
  until(&on_worker, 2, "syscall(SYS_tgkill)");
  MUST(syscall(SYS_tkill, main_tid, SIGUSR1));
  until(&on_main, 2, "syscall(SYS_tkill)");
  MUST(sigqueue(pid, SIGUSR1, (union sigval){.sival_int = 815}));
  until(&on_main, 3, "sigqueue");
  CHECK(value == 815, "sigqueue's value is %d", (int)value);
  OK(raise(SIGUSR1));
  until(&on_main, 4, "raise");
  MUST(kill(pid, 0));
  CHECK(kill(spare_tid, 0) == -1 || spare_tid == 0, "an ended thread's id is somebody's");
}

static void scheduling(void) {
  struct sched_param parameter = {0};
  MUST(sched_setscheduler(worker_tid, SCHED_BATCH, &parameter));
  CHECK(sched_getscheduler(worker_tid) == SCHED_BATCH, "sched_setscheduler");
  CHECK(sched_getscheduler(main_tid) == SCHED_OTHER, "sched_setscheduler hit the main thread");
  CHECK(sched_getscheduler(0) == SCHED_OTHER, "sched_getscheduler(0)");
  MUST(sched_getparam(worker_tid, &parameter));
  cpu_set_t set;
  CPU_ZERO(&set);
  MUST(sched_getaffinity(worker_tid, sizeof set, &set));
  CHECK(CPU_COUNT(&set) >= 1, "sched_getaffinity");
  MUST(sched_setaffinity(worker_tid, sizeof set, &set));
  errno = 0;
  int own = getpriority(PRIO_PROCESS, 0), raised = own + 3 < 19 ? own + 3 : 19;
  MUST(setpriority(PRIO_PROCESS, (id_t)worker_tid, raised));
  CHECK(getpriority(PRIO_PROCESS, (id_t)worker_tid) == raised && !errno, "getpriority");
  CHECK(getpriority(PRIO_PROCESS, (id_t)main_tid) == own && !errno, "the main thread's nice value");
  struct rlimit limit;
  MUST(prlimit(pid, RLIMIT_NOFILE, NULL, &limit));
}

static void other_calls(void) {
  clockid_t clock;
  OK(clock_getcpuclockid(pid, &clock));
  struct timespec time;
  MUST(clock_gettime(clock, &time));
  int fd = (int)syscall(SYS_pidfd_open, pid, 0);
  CHECK(fd >= 0, "pidfd_open: %s", strerror(errno));
  MUST(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
  close(fd);
  int pair[2];
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  struct ucred peer;
  socklen_t length = sizeof peer;
  MUST(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &peer, &length));
  CHECK(peer.pid == pid, "SO_PEERCRED says %d", peer.pid);
  MUST(fcntl(pair[0], F_SETOWN, pid));
  CHECK(fcntl(pair[0], F_GETOWN) == pid, "F_GETOWN says %d", fcntl(pair[0], F_GETOWN));
  struct f_owner_ex owner = {F_OWNER_TID, worker_tid};
  MUST(fcntl(pair[0], F_SETOWN_EX, &owner));
  owner.pid = 0;
  MUST(fcntl(pair[0], F_GETOWN_EX, &owner));
  CHECK(owner.type == F_OWNER_TID && owner.pid == worker_tid, "F_GETOWN_EX says %d", owner.pid);
}

static void family(void) {
  int child = fork();
  CHECK(child >= 0, "fork");
  if (!child) {
    if (getppid() != pid) _exit(10);
    if (kill(getppid(), 0)) _exit(11);
    if (getpid() == pid || gettid() != getpid()) _exit(12);
    if (kill(getpid(), 0)) _exit(13);
    if (getpgrp() != group || getsid(0) != session) _exit(14);
    _exit(42);
  }
  CHECK(child != pid && child != worker_tid && child != main_tid, "the child has an id of ours");
  CHECK(getpgid(child) == group, "getpgid of a child");
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child, "waitpid: %s", strerror(errno));
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42, "the child says %d", WEXITSTATUS(status));
  child = fork();
  if (!child) _exit(setpgid(0, 0) || getpgrp() != getpid() ? 1 : 0);
  siginfo_t info = {0};
  MUST(waitid(P_PID, (id_t)child, &info, WEXITED));
  CHECK(info.si_status == 0 && info.si_pid == child, "a child's own group: %d", info.si_status);
  child = fork();
  if (!child) _exit(0);
  CHECK(waitpid(-group, &status, 0) == child, "waitpid of the group: %s", strerror(errno));
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
  MUST(sigaction(SIGUSR1, &action, NULL));
  MUST(sigaction(SIGUSR2, &action, NULL));
  sigset_t one, before;
  sigemptyset(&one);
  sigaddset(&one, SIGUSR1);
  pthread_t worker, ended;
  MUST(sigprocmask(SIG_BLOCK, &one, &before));
  OK(pthread_create(&worker, NULL, work, NULL));
  OK(pthread_create(&ended, NULL, spare, NULL));
  OK(pthread_join(ended, NULL));
  MUST(sigprocmask(SIG_SETMASK, &before, NULL));
  thr_wait_arrived(2);
  pid = getpid(), main_tid = gettid(), parent = getppid(), group = getpgrp(), session = getsid(0);
  ready();
  wait_line();
  CHECK(getpid() == pid, "getpid() is %d, was %d", getpid(), pid);
  CHECK(gettid() == main_tid && syscall(SYS_getpid) == pid, "gettid");
  CHECK(getpgrp() == group && getpgid(0) == group && getpgid(pid) == group, "getpgrp");
  CHECK(getsid(0) == session && getsid(pid) == session, "getsid");
  thr_open_gate(1);
  thr_wait_arrived(3);
  signals();
  scheduling();
  other_calls();
  family();
  for (int i = 0; i < 50; i++) {
    // New threads: ids that no other thread has.
    pthread_t made;
    OK(pthread_create(&made, NULL, spare, NULL));
    OK(pthread_join(made, NULL));
    CHECK(spare_tid != worker_tid && spare_tid != main_tid && spare_tid > 0, "a new thread's id");
  }
  thr_open_gate(2);
  OK(pthread_join(worker, NULL));
  return pass();
}
