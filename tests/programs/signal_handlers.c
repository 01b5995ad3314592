// Dispositions of all signals (handler, flags, mask, restorer), as the kernel reports them, and
// what the flags promise: SA_SIGINFO, SA_ONSTACK, SA_RESETHAND, SA_NODEFER, SA_RESTART, ignored
// signals, and the process's signal mask.
#include "selfcheck.h"

// The kernel's own structure: glibc hides the restorer.
struct kernel_sigaction {
  void* handler;
  unsigned long flags;
  void* restorer;
  unsigned long mask;
};

static struct kernel_sigaction before[65];
static char altstack[65536];
static volatile sig_atomic_t calls[65], depth, deepest;
static volatile int value_received;
static int restart_pipe[2];

static void get_action(int number, struct kernel_sigaction* action) {
  memset(action, 0, sizeof *action);
  MUST(syscall(SYS_rt_sigaction, number, NULL, action, 8));
}

static void plain(int number) { calls[number]++; }

static void with_info(int number, siginfo_t* info, void* context) {
  (void)context;
  char here;
  CHECK(&here >= altstack && &here < altstack + sizeof altstack,
        "signal %d is not handled on the alternate stack", number);
  CHECK(info->si_signo == number && info->si_code == SI_QUEUE, "siginfo: signal %d, code %d",
        info->si_signo, info->si_code);
  value_received = info->si_value.sival_int;
  calls[number]++;
}

static void nested(int number) {
  calls[number]++;
  depth++;
  if (depth > deepest) deepest = depth;
  if (depth < 3) raise(number);  // SA_NODEFER: comes in at once
  depth--;
}

static void masking(int number) {
  calls[number]++;
  if (number == SIGHUP) {
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    CHECK(sigismember(&mask, SIGTERM) && sigismember(&mask, SIGRTMIN + 5) &&
              sigismember(&mask, SIGHUP),
          "a handler runs without its mask");
  }
}

static void* send_while_reading(void* main_thread) {
  // Interrupts read() below once it blocks: SA_RESTART makes it go on.
  struct timespec moment = {0, 2000000};
  for (int i = 0; i < 5; i++) {
    nanosleep(&moment, NULL);
    pthread_kill(*(pthread_t*)main_thread, SIGUSR1);
  }
  MUST(write(restart_pipe[1], "x", 1));
  return NULL;
}

int main(void) {
  seed();
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = plain;
  action.sa_flags = SA_RESTART;
  MUST(sigaction(SIGUSR1, &action, NULL));
  action.sa_flags = SA_RESETHAND;
  MUST(sigaction(SIGUSR2, &action, NULL));
  action.sa_handler = nested;
  action.sa_flags = SA_NODEFER;
  MUST(sigaction(SIGWINCH, &action, NULL));
  action.sa_handler = masking;
  action.sa_flags = 0;
  sigaddset(&action.sa_mask, SIGTERM);
  sigaddset(&action.sa_mask, SIGRTMIN + 5);
  MUST(sigaction(SIGHUP, &action, NULL));
  sigemptyset(&action.sa_mask);
  action.sa_handler = SIG_IGN;
  MUST(sigaction(SIGTERM, &action, NULL));
  MUST(sigaction(SIGPIPE, &action, NULL));
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  action.sa_sigaction = with_info;
  MUST(sigaction(SIGRTMIN + 2, &action, NULL));
  action.sa_flags = SA_NOCLDSTOP | SA_NOCLDWAIT;
  action.sa_handler = SIG_DFL;
  MUST(sigaction(SIGCHLD, &action, NULL));
  stack_t stack = {.ss_sp = altstack, .ss_size = sizeof altstack};
  MUST(sigaltstack(&stack, NULL));
  sigset_t mask, mask_now;
  sigemptyset(&mask);
  sigaddset(&mask, SIGQUIT);
  sigaddset(&mask, SIGRTMIN + 9);
  MUST(sigprocmask(SIG_SETMASK, &mask, NULL));
  for (int s = 1; s <= 64; s++) get_action(s, &before[s]);

  ready();
  wait_line();

  for (int s = 1; s <= 64; s++) {
    if (s == 32 || s == 33) continue;  // glibc's own; it installs them with the first thread
    struct kernel_sigaction now;
    get_action(s, &now);
    CHECK(!memcmp(&now, &before[s], sizeof now),
          "signal %d: handler %p flags %#lx mask %#lx, was %p %#lx %#lx", s, now.handler, now.flags,
          now.mask, before[s].handler, before[s].flags, before[s].mask);
  }
  sigprocmask(SIG_BLOCK, NULL, &mask_now);
  for (int s = 1; s < 65; s++)
    if (s != 32 && s != 33)
      CHECK(sigismember(&mask, s) == sigismember(&mask_now, s), "signal %d in the mask", s);

  union sigval value = {.sival_int = 4711};
  MUST(sigqueue(getpid(), SIGRTMIN + 2, value));
  CHECK(calls[SIGRTMIN + 2] == 1 && value_received == 4711, "SA_SIGINFO: %d calls, value %d",
        (int)calls[SIGRTMIN + 2], value_received);
  raise(SIGTERM);
  raise(SIGPIPE);
  raise(SIGHUP);
  CHECK(calls[SIGHUP] == 1, "SIGHUP: %d calls", (int)calls[SIGHUP]);
  raise(SIGWINCH);
  CHECK(calls[SIGWINCH] == 3 && deepest == 3, "SA_NODEFER: %d calls, %d deep", (int)calls[SIGWINCH],
        (int)deepest);
  raise(SIGUSR2);
  struct kernel_sigaction now;
  get_action(SIGUSR2, &now);
  CHECK(calls[SIGUSR2] == 1 && now.handler == NULL, "SA_RESETHAND: %d calls, handler %p",
        (int)calls[SIGUSR2], now.handler);
  MUST(pipe(restart_pipe));
  pthread_t self = pthread_self(), sender;
  CHECK(!pthread_create(&sender, NULL, send_while_reading, &self), "pthread_create");
  char byte;
  ssize_t got = read(restart_pipe[0], &byte, 1);
  CHECK(got == 1, "SA_RESTART: read returned %zd: %s", got, strerror(errno));
  pthread_join(sender, NULL);
  CHECK(calls[SIGUSR1] >= 1, "SIGUSR1 was not handled");
  MUST(sigaltstack(NULL, &stack));
  CHECK(stack.ss_sp == altstack && stack.ss_size == sizeof altstack && stack.ss_flags == 0,
        "sigaltstack");
  return pass();
}
