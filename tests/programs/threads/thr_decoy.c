// usage: thr_decoy ID... Occupies each id with a process of its own, and counts what reaches it:
// signals, changes of priority, policy or affinity. Prints READY; after a line from stdin, PASS if
// nothing has. Needs root (clone3 with set_tid). An id that somebody else has makes it SKIP.
#include "thr.h"

#include <linux/sched.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { MOST = 256 };
static struct { int id, signals, nice, policy, affinity; } * decoys;

static void occupy(int index, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // It may have ended before that, for want of another id.
  if (getppid() != parent) _exit(0);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  cpu_set_t before;
  MUST(sched_getaffinity(0, sizeof before, &before));
  int number;
  // The parent ends it with a realtime signal that nobody else sends.
  while (sigwait(&all, &number) == 0 && number != SIGRTMAX) decoys[index].signals++;
  cpu_set_t now;
  MUST(sched_getaffinity(0, sizeof now, &now));
  decoys[index].affinity = !CPU_EQUAL(&before, &now);
  decoys[index].nice = getpriority(PRIO_PROCESS, 0);
  decoys[index].policy = sched_getscheduler(0);
  _exit(0);
}

int main(int argc, char** argv) {
  const pid_t parent = getpid();
  int count = argc - 1, nice = getpriority(PRIO_PROCESS, 0), policy = sched_getscheduler(0);
  CHECK(count > 0 && count <= MOST, "1 to 256 ids");
  decoys =
      mmap(NULL, sizeof *decoys * MOST, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < count; i++) {
    pid_t id = decoys[i].id = atoi(argv[i + 1]);
    struct clone_args arguments = {0};
    arguments.exit_signal = SIGCHLD;
    arguments.set_tid = (uintptr_t)&id;
    arguments.set_tid_size = 1;
    long got = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (got == 0) occupy(i, parent);
    if (got < 0) SKIP("the id %d: %s", id, strerror(errno));
  }
  ready();
  wait_line();
  for (int i = 0; i < count; i++) {
    siginfo_t info = {0};
    CHECK(waitid(P_PID, (id_t)decoys[i].id, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0,
          "decoy %d has been ended by somebody", decoys[i].id);
    MUST(kill(decoys[i].id, SIGRTMAX));
    CHECK(waitpid(decoys[i].id, NULL, 0) == decoys[i].id, "waitpid");
    CHECK(!decoys[i].signals, "decoy %d got %d signals", decoys[i].id, decoys[i].signals);
    CHECK(decoys[i].nice == nice, "decoy %d has nice value %d", decoys[i].id, decoys[i].nice);
    CHECK(decoys[i].policy == policy, "decoy %d has policy %d", decoys[i].id, decoys[i].policy);
    CHECK(!decoys[i].affinity, "the affinity of decoy %d was changed", decoys[i].id);
  }
  return pass();
}
