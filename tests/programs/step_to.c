// ckpt-build: no-nopie no-static
// usage: step_to TID STEPS [SIGNAL]. Traces a thread up to its next int3, steps it STEPS
// instructions on from there, and leaves it stopped by SIGSTOP. With SIGNAL it gets that signal
// there, and is left at the int3 of its handler.
//
// STEPS -1: prints a letter for each instruction up to the int3 after that, and kills it: `s` where
// the next instruction is a system call, else `-`.
#include "selfcheck.h"

#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

static pid_t tid;

static long trace(int request, long data) {
  long result = ptrace(request, tid, NULL, data);
  CHECK(result >= 0, "ptrace %x: %s", request, strerror(errno));
  return result;
}

// The next stop; signals that are none of ours are passed on. `how`: PTRACE_CONT or _SINGLESTEP.
// Returns whether it is an int3.
static int go(int how, long signal) {
  for (;;) {
    int status = 0;
    trace(how, signal);
    CHECK(waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status), "status %x", status);
    siginfo_t info;
    if (WSTOPSIG(status) == SIGTRAP && status >> 16 == 0) {
      CHECK(!ptrace(PTRACE_GETSIGINFO, tid, NULL, &info), "siginfo: %s", strerror(errno));
      return info.si_code == SI_KERNEL;
    }
    signal = status >> 16 == 0 ? WSTOPSIG(status) : 0;
  }
}

static char next_instruction(void) {
  struct user_regs_struct registers;
  CHECK(!ptrace(PTRACE_GETREGS, tid, NULL, &registers), "registers: %s", strerror(errno));
  const long word = ptrace(PTRACE_PEEKTEXT, tid, registers.rip, NULL);
  return (word & 0xffff) == 0x050f ? 's' : '-';
}

// A stop at the begin of a handler takes no signal along: then it is sent.
static long to_take_along(long signal) {
  siginfo_t info;
  CHECK(!ptrace(PTRACE_GETSIGINFO, tid, NULL, &info), "siginfo: %s", strerror(errno));
  if (info.si_code != SIGTRAP) return signal;
  MUST(syscall(SYS_tkill, tid, signal));
  return 0;
}

int main(int argc, char** argv) {
  CHECK(argc > 2, "usage: step_to TID STEPS [SIGNAL]");
  tid = atoi(argv[1]);
  long steps = atol(argv[2]);
  const int here = argc > 3 && !strcmp(argv[3], "here");
  const long signal = argc > 3 && !here ? atol(argv[3]) : 0;
  trace(PTRACE_SEIZE, PTRACE_O_TRACESYSGOOD);
  trace(PTRACE_INTERRUPT, 0);
  int status = 0;
  CHECK(waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status), "status %x", status);
  ready();
  CHECK(here || go(PTRACE_CONT, 0), "no int3");
  if (steps < 0) {
    char kinds[8192];
    size_t count = 0;
    do {
      CHECK(count + 1 < sizeof kinds, "too many instructions");
      kinds[count++] = next_instruction();
    } while (!go(PTRACE_SINGLESTEP, 0));
    kinds[count - 1] = 0;  // the int3 itself
    say("%s", kinds);
    kill(tid, SIGKILL);
    return 0;
  }
  while (steps-- > 0) CHECK(!go(PTRACE_SINGLESTEP, 0), "too many steps");
  if (signal) CHECK(go(PTRACE_CONT, to_take_along(signal)), "no int3 in a handler");
  trace(PTRACE_DETACH, to_take_along(SIGSTOP));
  return pass();
}
