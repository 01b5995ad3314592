// usage: in_handler plain|altstack|nested|fault|siglongjmp. The stop is inside a signal handler:
// the way back (sigreturn) takes all registers of the interrupted code, vector registers included,
// from a frame in memory.
#include "selfcheck.h"

#include <setjmp.h>
#include <ucontext.h>

static const char* how;
static char altstack[128 * 1024];
static uint8_t in[16 * 16] __attribute__((aligned(64))), out[16 * 16] __attribute__((aligned(64)));
static volatile int handled;
static unsigned char* guarded;
static sigjmp_buf escape;

static void stop_here(void) {
  ready();
  wait_line();
  handled++;
}

static void on_signal(int number, siginfo_t* info, void* context) {
  (void)context;
  char here;
  int on_altstack = &here >= altstack && &here < altstack + sizeof altstack;
  CHECK(on_altstack == (!strcmp(how, "altstack") || !strcmp(how, "fault")),
        "on alternate stack: %d", on_altstack);
  if (number == SIGSEGV) {
    CHECK(info->si_addr == guarded + 123, "si_addr is %p", info->si_addr);
    stop_here();
    CHECK(info->si_addr == guarded + 123 && info->si_code == SEGV_ACCERR, "siginfo changed");
    stack_t stack;
    MUST(sigaltstack(NULL, &stack));
    CHECK(stack.ss_flags == SS_ONSTACK, "ss_flags is %d inside the handler", stack.ss_flags);
    MUST(mprotect(guarded, 4096, PROT_READ | PROT_WRITE));  // the access is repeated and succeeds
    return;
  }
  if (!strcmp(how, "nested") && number == SIGUSR1) {
    raise(SIGUSR2);
    handled++;
    return;
  }
  sigset_t mask;
  stop_here();
  pthread_sigmask(SIG_BLOCK, NULL, &mask);
  CHECK(sigismember(&mask, number), "signal %d is not blocked in its own handler", number);
  if (!strcmp(how, "siglongjmp")) siglongjmp(escape, 7);
}

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: in_handler plain|altstack|nested|fault|siglongjmp");
  how = argv[1];
  fill(in, sizeof in, seed());
  stack_t stack = {.ss_sp = altstack, .ss_size = sizeof altstack};
  MUST(sigaltstack(&stack, NULL));
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
  if (!strcmp(how, "altstack") || !strcmp(how, "fault")) action.sa_flags |= SA_ONSTACK;
  MUST(sigaction(SIGUSR1, &action, NULL));
  MUST(sigaction(SIGUSR2, &action, NULL));
  MUST(sigaction(SIGSEGV, &action, NULL));
  guarded = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(guarded);

  if (!strcmp(how, "fault")) {
    guarded[123] = 42;
    CHECK(guarded[123] == 42, "the faulting store was lost");
  } else if (!strcmp(how, "siglongjmp")) {
    int code = sigsetjmp(escape, 1);
    if (!code) raise(SIGUSR1);
    CHECK(code == 7, "sigsetjmp returned %d", code);
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    CHECK(!sigismember(&mask, SIGUSR1), "siglongjmp did not put the mask back");
  } else {
    // tgkill from asm with the vector registers live: the handler runs, stops, and sigreturn brings
    // them back.
    long result;
#define LOAD(n) "movdqa " #n "*16(%%r8), %%xmm" #n "\n"
#define STORE(n) "movdqa %%xmm" #n ", " #n "*16(%%r9)\n"
    long pid = getpid(), tid = syscall(SYS_gettid);
    register uint8_t* from __asm__("r8") = in;
    register uint8_t* to __asm__("r9") = out;
    __asm__ volatile(
        LOAD(0) LOAD(1) LOAD(2) LOAD(3) LOAD(4) LOAD(5) LOAD(6) LOAD(7) LOAD(8) LOAD(9) LOAD(10)
            LOAD(11) LOAD(12) LOAD(13) LOAD(14) LOAD(15) "syscall\n" STORE(0) STORE(1) STORE(2)
                STORE(3) STORE(4) STORE(5) STORE(6) STORE(7) STORE(8) STORE(9) STORE(10) STORE(11)
                    STORE(12) STORE(13) STORE(14) STORE(15)
        : "=a"(result)
        : "a"(SYS_tgkill), "D"(pid), "S"(tid), "d"((long)SIGUSR1), "r"(from), "r"(to)
        : "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
          "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    CHECK(result == 0, "tgkill returned %ld", result);
    for (size_t i = 0; i < sizeof in; i++)
      CHECK(in[i] == out[i], "xmm%zu differs after the handler", i / 16);
    CHECK(handled == (!strcmp(how, "nested") ? 2 : 1), "the handler ran %d times", handled);
  }
  return pass();
}
