// Signals at the moment of the save.
//
// usage: e2e_signals handler|segv|abort|queue
// Prints READY, what its handlers saw, the nonce, PASS. Exit status 5; `abort` ends by SIGABRT.
#include <setjmp.h>
#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "e2e_common.h"

volatile int handled;

namespace {

sigjmp_buf recovery;
pid_t own_pid;
// Page zero is never mapped; an address of its own shows that si_addr came through.
volatile char* const bad_address = reinterpret_cast<volatile char*>(0x1234);

}  // namespace

// Reached on the alternate stack in mode `handler`: the tests stop inside it.
void on_usr1(int /*signal*/, siginfo_t* info, void* /*context*/) {
  int seen = handled + 1;
  handled = seen;  // inside the handler
  if (info->si_code == SI_QUEUE) {
    std::printf("value %d from %s\n", info->si_value.sival_int,
                info->si_pid == own_pid ? "itself" : "elsewhere");
    std::fflush(stdout);
  }
}

static void on_segv(int /*signal*/, siginfo_t* info, void* /*context*/) {
  std::printf("fault at %p code %d\n", info->si_addr, info->si_code);
  std::fflush(stdout);
  siglongjmp(recovery, 1);
}

static void install(int signal, void (*handler)(int, siginfo_t*, void*)) {
  struct sigaction action {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, SIGUSR2);
  if (sigaction(signal, &action, nullptr) != 0) {
    fail("sigaction");
  }
}

void raise_fault() {
  *bad_address = 1;  // the fault
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fail("usage: e2e_signals handler|segv|abort|queue");
  }
  draw_nonce();
  own_pid = getpid();
  static char alternate[64 * 1024];
  stack_t stack{};
  stack.ss_sp = alternate;
  stack.ss_size = sizeof alternate;
  if (sigaltstack(&stack, nullptr) != 0) {
    fail("sigaltstack");
  }
  install(SIGUSR1, on_usr1);
  install(SIGSEGV, on_segv);
  say("READY");
  std::string mode = argv[1];
  if (mode == "handler") {
    raise(SIGUSR1);
    if (handled != 1) {
      fail("the handler did not run once");
    }
    sigset_t mask;
    sigprocmask(SIG_SETMASK, nullptr, &mask);
    if (sigismember(&mask, SIGUSR2) != 0 || sigismember(&mask, SIGUSR1) != 0) {
      fail("the handler's return did not give the mask back");
    }
  } else if (mode == "segv") {
    if (sigsetjmp(recovery, 1) == 0) {
      raise_fault();
      fail("no fault");
    }
  } else if (mode == "abort") {
    say_nonce();
    std::abort();
  } else if (mode == "queue") {
    sigval value{};
    // The value is part of the nonce: only this very run can print it.
    value.sival_int = static_cast<int>(nonce & 0xffffff);
    if (sigqueue(own_pid, SIGUSR1, value) != 0) {
      fail("sigqueue");
    }
    if (handled != 1) {
      fail("the queued signal was not delivered once");
    }
  } else {
    fail("which signal?");
  }
  say_nonce();
  say("PASS");
  return 5;
}
