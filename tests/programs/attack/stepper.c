// ckpt-build: no-nopie no-static
// usage: stepper PID. Traces the main thread of a program up to its next int3, and then does what
// the lines say that it reads:
//   count  steps on to the int3 after that and lets it go. Prints how many instructions there were,
//          and which of them were system calls: `COUNT <instructions> <number>...`
//   N      steps N instructions on and leaves the program stopped by SIGSTOP: `AT`. Where the int3
//          comes first, it lets it go: `END`
#include "selfcheck.h"

#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

static pid_t pid;

static void trace(int request, long data) {
  CHECK(ptrace(request, pid, NULL, data) >= 0, "ptrace %x: %s", request, strerror(errno));
}

static siginfo_t stopped_by(void) {
  siginfo_t info;
  CHECK(!ptrace(PTRACE_GETSIGINFO, pid, NULL, &info), "siginfo: %s", strerror(errno));
  return info;
}

static int wait_stop(void) {
  int status = 0;
  CHECK(waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status), "status %x", status);
  return status;
}

static void attach(void) {
  trace(PTRACE_SEIZE, PTRACE_O_TRACESYSGOOD);
  trace(PTRACE_INTERRUPT, 0);
  wait_stop();
}

// To the next SIGTRAP. Signals are passed on. `how`: PTRACE_CONT or PTRACE_SINGLESTEP. Returns
// whether it is an int3.
static int go(int how) {
  for (long signal = 0;;) {
    trace(how, signal);
    const int status = wait_stop();
    if (WSTOPSIG(status) == SIGTRAP && status >> 16 == 0) return stopped_by().si_code == SI_KERNEL;
    signal = status >> 16 == 0 ? WSTOPSIG(status) : 0;
  }
}

static int at_system_call(void) {
  struct user_regs_struct registers;
  CHECK(!ptrace(PTRACE_GETREGS, pid, NULL, &registers), "registers: %s", strerror(errno));
  return (ptrace(PTRACE_PEEKTEXT, pid, registers.rip, NULL) & 0xffff) == 0x050f;
}

static void count(void) {
  static char calls[1 << 16];
  size_t length = 0;
  long instructions = 0;
  do {
    if (at_system_call() && length + 32 < sizeof calls)
      length += (size_t)sprintf(calls + length, " %ld", instructions);
    instructions++;
  } while (!go(PTRACE_SINGLESTEP));
  trace(PTRACE_DETACH, 0);
  printf("COUNT %ld%s\n", instructions - 1, calls);  // without the int3 itself
  fflush(stdout);
}

// A stop at the begin of a handler takes no signal along: then it is sent.
static void leave_stopped(void) {
  long signal = SIGSTOP;
  if (stopped_by().si_code == SIGTRAP) {
    MUST(syscall(SYS_tkill, pid, SIGSTOP));
    signal = 0;
  }
  trace(PTRACE_DETACH, signal);
}

static int step(long steps) {
  while (steps-- > 0)
    if (go(PTRACE_SINGLESTEP)) {
      trace(PTRACE_DETACH, 0);
      say("END");
      return 0;
    }
  leave_stopped();
  say("AT");
  return 1;
}

int main(int argc, char** argv) {
  char line[32];
  CHECK(argc == 2, "usage: stepper PID");
  pid = atoi(argv[1]);
  attach();
  ready();
  CHECK(go(PTRACE_CONT), "no int3");
  for (int first = 1;; first = 0) {
    ssize_t length = read(0, line, sizeof line - 1);
    if (length <= 0) return 0;
    line[length] = 0;
    if (!first) {
      attach();
      MUST(kill(pid, SIGCONT));
    }
    if (!strcmp(line, "count\n")) {
      count();
      return 0;
    }
    if (!step(atol(line))) return 0;
  }
}
