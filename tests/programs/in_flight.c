// ckpt-link: -Wl,-z,now
// usage: in_flight CALL. A thread makes one call that takes or gives ids, between two int3: what
// steps it by single instructions (step_to.c) can have it saved in the middle. It checks what came
// of the call. SIGUSR2's handler stops it at an int3 of its own, and waits for a line.
//
// Ids are those that the program remembers; what the kernel has of it is asked for by instructions
// of its own.
#include "selfcheck.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

static pid_t process, thread, parent, group, session, child;
static int had_cpus;
static pthread_t self;
static volatile int handled, in_thread;
static int ends[2], sockets[2];
static clockid_t cpu_clock;

static long raw(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c)
                   : "rcx", "r11", "memory");
  return result;
}

static void on_signal(int signal, siginfo_t* info, void* context) {
  (void)signal;
  (void)info;
  (void)context;
  handled++;
  in_thread = pthread_equal(pthread_self(), self);
}

static void on_queued(int signal, siginfo_t* info, void* context) {
  CHECK(info->si_value.sival_int == 4711, "value %d", info->si_value.sival_int);
  on_signal(signal, info, context);
}

static void on_trap(int signal) { (void)signal; }

static void on_pause(int signal) {
  (void)signal;
  __asm__ volatile("int3");
  wait_line();
}

enum { SIGNAL = SIGUSR1, QUEUED = 42 };
static const union sigval value = {.sival_int = 4711};
static struct sched_param no_priority;
static struct rlimit limit = {12345, 12345}, had;
static cpu_set_t cpus;
static struct timespec spent;
static timer_t timer;
static struct sigevent event;
static int status, number;
static siginfo_t ended;

static long own_limit(void) {
  struct rlimit now = {0, 0};
  __asm__ volatile("" ::: "memory");
  register long old __asm__("r10") = (long)&now;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(SYS_prlimit64), "D"(0L), "S"((long)RLIMIT_CORE), "d"(0L), "r"(old)
                   : "rcx", "r11", "memory");
  return result == 0 ? (long)now.rlim_cur : -1;
}

static int own_descriptor(int fd) {
  struct f_owner_ex owner = {0, 0};
  CHECK(!raw(SYS_fcntl, fd, F_GETOWN_EX, (long)&owner), "F_GETOWN_EX");
  return owner.type == F_OWNER_PID && owner.pid == raw(SYS_getpid, 0, 0, 0);
}

static int own_pidfd(int fd) {
  char path[64], line[128];
  int pid = 0;
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
  FILE* file = fopen(path, "r");
  CHECK(file, "%s: %s", path, strerror(errno));
  while (fgets(line, sizeof line, file) && !sscanf(line, "Pid:%d", &pid)) {
  }
  fclose(file);
  return pid == raw(SYS_getpid, 0, 0, 0);
}

// The copy has used less of the processor than the original had at the save.
static int is_own_time(void) {
  struct timespec now;
  CHECK(!raw(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, (long)&now, 0), "clock_gettime");
  return now.tv_sec > spent.tv_sec || (now.tv_sec == spent.tv_sec && now.tv_nsec >= spent.tv_nsec);
}

static int fires(void) {
  const struct itimerspec soon = {{0, 0}, {0, 1000000}};
  CHECK(!timer_settime(timer, 0, &soon, NULL), "timer_settime: %s", strerror(errno));
  while (!handled) sched_yield();  // for ever, if it signals somebody else
  return in_thread;
}

// The call itself, and whether its result is right.
#define MARK __asm__ volatile("int3")
#define CALL(name, call, right)                           \
  static void call_##name(void) {                         \
    MARK;                                                 \
    const long result = (long)(call);                     \
    MARK;                                                 \
    CHECK(right, #name ": %ld, errno %d", result, errno); \
  }
#define SIGNALS(name, call) CALL(name, call, result == 0 && handled == 1 && in_thread)

SIGNALS(raise, raise(SIGNAL))
SIGNALS(kill, kill(process, SIGNAL))
SIGNALS(kill_group, kill(-group, SIGURG))
SIGNALS(killpg, killpg(group, SIGURG))
SIGNALS(tgkill, tgkill(process, thread, SIGNAL))
SIGNALS(tgkill_syscall, syscall(SYS_tgkill, process, thread, SIGNAL))
SIGNALS(tkill_syscall, syscall(SYS_tkill, thread, SIGNAL))
SIGNALS(sigqueue, sigqueue(process, QUEUED, value))
SIGNALS(pthread_kill, pthread_kill(self, SIGNAL))
SIGNALS(pthread_sigqueue, pthread_sigqueue(self, QUEUED, value))
CALL(getpid, getpid(), result == process)
CALL(gettid, gettid(), result == thread)
CALL(getppid, getppid(), result == parent)
CALL(getpgrp, getpgrp(), result == group)
CALL(getpgid, getpgid(process), result == group)
CALL(getsid, getsid(thread), result == session)
CALL(getpid_syscall, syscall(SYS_getpid), result == process)
CALL(gettid_syscall, syscall(SYS_gettid), result == thread)
CALL(sched_getaffinity, sched_getaffinity(thread, sizeof cpus, &cpus),
     result == 0 && CPU_COUNT(&cpus) == had_cpus)
CALL(sched_setscheduler, sched_setscheduler(thread, SCHED_BATCH, &no_priority),
     result == 0 && raw(SYS_sched_getscheduler, 0, 0, 0) == SCHED_BATCH)
CALL(getpriority, getpriority(PRIO_PROCESS, (id_t)thread), result == 3)
CALL(setpriority, setpriority(PRIO_PROCESS, (id_t)thread, 5),
     result == 0 && raw(SYS_getpriority, PRIO_PROCESS, 0, 0) == 20 - 5)
CALL(prlimit, prlimit(process, RLIMIT_CORE, &limit, &had), result == 0 && own_limit() == 12345)
CALL(clock_getcpuclockid, clock_getcpuclockid(process, &cpu_clock),
     result == 0 && cpu_clock == (clockid_t)((~(unsigned)process << 3) | 2))
CALL(clock_gettime, clock_gettime(cpu_clock, &spent), result == 0 && is_own_time())
CALL(fcntl_setown, fcntl(ends[0], F_SETOWN, process), result == 0 && own_descriptor(ends[0]))
CALL(fcntl_getown, fcntl(ends[0], F_GETOWN), result == process)
CALL(ioctl_setown, ioctl(sockets[0], FIOSETOWN, &number), result == 0 && own_descriptor(sockets[0]))
CALL(ioctl_getown, ioctl(sockets[0], FIOGETOWN, &number), result == 0 && number == process)
CALL(timer_create, timer_create(CLOCK_MONOTONIC, &event, &timer), result == 0 && fires())
CALL(pidfd_open, syscall(SYS_pidfd_open, process, 0), own_pidfd((int)result))
CALL(waitpid, waitpid(child, &status, 0), result == child && WEXITSTATUS(status) == 42)
CALL(waitid, waitid(P_PID, (id_t)child, &ended, WEXITED),
     result == 0 && ended.si_pid == child && ended.si_status == 42)

#define NAMED(name) \
  { #name, call_##name }
static const struct {
  const char* name;
  void (*make)(void);
} calls[] = {
    NAMED(raise),
    NAMED(kill),
    NAMED(kill_group),
    NAMED(killpg),
    NAMED(tgkill),
    NAMED(tgkill_syscall),
    NAMED(tkill_syscall),
    NAMED(sigqueue),
    NAMED(pthread_kill),
    NAMED(pthread_sigqueue),
    NAMED(getpid),
    NAMED(gettid),
    NAMED(getppid),
    NAMED(getpgrp),
    NAMED(getpgid),
    NAMED(getsid),
    NAMED(getpid_syscall),
    NAMED(gettid_syscall),
    NAMED(sched_getaffinity),
    NAMED(sched_setscheduler),
    NAMED(getpriority),
    NAMED(setpriority),
    NAMED(prlimit),
    NAMED(clock_getcpuclockid),
    NAMED(clock_gettime),
    NAMED(fcntl_setown),
    NAMED(fcntl_getown),
    NAMED(ioctl_setown),
    NAMED(ioctl_getown),
    NAMED(timer_create),
    NAMED(pidfd_open),
    NAMED(waitpid),
    NAMED(waitid),
};

static void set_up(void) {
  thread = gettid();
  self = pthread_self();
  raw(SYS_setpriority, PRIO_PROCESS, 0, 3);
  CHECK(!sched_getaffinity(0, sizeof cpus, &cpus), "sched_getaffinity: %s", strerror(errno));
  had_cpus = CPU_COUNT(&cpus);
  CPU_ZERO(&cpus);
  MUST(pipe(ends));
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
  MUST(fcntl(ends[0], F_SETOWN, process));
  number = process;
  MUST(ioctl(sockets[0], FIOSETOWN, &number));
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = SIGNAL;
  event._sigev_un._tid = thread;
  CHECK(!pthread_getcpuclockid(self, &cpu_clock), "pthread_getcpuclockid");
}

// So that the original's clock is ahead of the copy's, which begins anew.
static void use_the_processor(void) {
  do CHECK(!clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent), "clock_gettime");
  while (spent.tv_nsec < 100000000 && spent.tv_sec == 0);
  spent.tv_nsec = 0;
}

static void make_child(void) {
  child = fork();
  CHECK(child >= 0, "fork: %s", strerror(errno));
  if (child == 0) _exit(42);
  CHECK(!waitid(P_PID, (id_t)child, &ended, WEXITED | WNOWAIT), "waitid: %s", strerror(errno));
  memset(&ended, 0, sizeof ended);
}

static void* make_call(void* wanted) {
  sigset_t none;
  sigemptyset(&none);
  set_up();
  if (!strcmp(wanted, "clock_gettime")) use_the_processor();
  if (!strncmp(wanted, "wait", 4)) make_child();
  ready();
  wait_line();
  CHECK(!pthread_sigmask(SIG_SETMASK, &none, NULL), "pthread_sigmask");
  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
    if (!strcmp(calls[i].name, wanted)) {
      calls[i].make();
      exit(pass());
    }
  FAIL("no such call: %s", (const char*)wanted);
}

int main(int argc, char** argv) {
  CHECK(argc > 1, "usage: in_flight CALL");
  if (!strcmp(argv[1], "--list")) {
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) puts(calls[i].name);
    return 0;
  }
  MUST(setpgid(0, 0));
  process = getpid();
  parent = getppid();
  group = getpgrp();
  session = getsid(0);
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
  MUST(sigaction(SIGNAL, &action, NULL));
  MUST(sigaction(SIGURG, &action, NULL));
  action.sa_sigaction = on_queued;
  MUST(sigaction(QUEUED, &action, NULL));
  signal(SIGTRAP, on_trap);
  signal(SIGUSR2, on_pause);
  sigset_t all;
  sigfillset(&all);
  sigdelset(&all, SIGTRAP);
  CHECK(!pthread_sigmask(SIG_BLOCK, &all, NULL), "pthread_sigmask");  // the thread gets them
  pthread_t other;
  CHECK(!pthread_create(&other, NULL, make_call, argv[1]), "pthread_create");
  pthread_join(other, NULL);
}
