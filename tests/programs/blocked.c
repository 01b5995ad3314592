// usage: blocked CASE. A thread sleeps in one blocking system call while it is saved. Neither the
// save nor a restore may show: no EINTR, no short count, no short sleep, no wake-up without a
// reason.
//
// The main thread blocks; what it blocks in is the case. Where something must end the wait, a
// second thread does it when it has read the line from stdin. The first line of output says how the
// case is released:
//   READY <nonce> CASE line|time     by a line on stdin, or by itself
// `blocked --list` prints the cases: name, line|time, and what kind of descriptors it needs
// (`inside`: nothing but memory, signals and inherited descriptors; `pipe`; `other`: sockets,
// epoll, children and so on).
#include "selfcheck.h"

#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>

// Time-outs that are meant to expire: long enough for the save to fall into them. On a slow machine
// $CKPT_TEST_SHORT_MS is more.
static long short_ms = 600;

static int released;
static volatile sig_atomic_t signals_seen;
static pthread_t main_thread;
static int ends[2];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t pi_mutex;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static sem_t semaphore;
static sem_t blocker_ready;
static int word;
static uint64_t started_ns;

static void on_signal(int number) {
  (void)number;
  signals_seen++;
}

static void make_pipe(void) { MUST(pipe(ends)); }
static void handle_usr1(int flags) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
  MUST(sigaction(SIGUSR1, &action, NULL));
}
static void block_usr1(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  MUST(sigprocmask(SIG_BLOCK, &set, NULL));
}
static sigset_t only_usr1(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  return set;
}
static struct timespec in_ms(clockid_t clock, long ms) {
  uint64_t at = now_ns(clock) + (uint64_t)ms * 1000000ULL;
  return (struct timespec){(time_t)(at / 1000000000ULL), (long)(at % 1000000000ULL)};
}
static struct timespec span_ms(long ms) {
  return (struct timespec){ms / 1000, ms % 1000 * 1000000};
}

// The wait ended because of the release, not before it.
static void was_released(void) {
  CHECK(__atomic_load_n(&released, __ATOMIC_SEQ_CST), "woke up before it was released");
}
static void took(long ms) {
  uint64_t elapsed = now_ns(CLOCK_MONOTONIC) - started_ns;
  CHECK(elapsed >= (uint64_t)ms * 1000000ULL, "slept %llu us of %ld ms",
        (unsigned long long)elapsed / 1000, ms);
}
static void start(void) { started_ns = now_ns(CLOCK_MONOTONIC); }
#define RETURNS(call, wanted)                                                   \
  do {                                                                          \
    errno = 0;                                                                  \
    long got = (long)(call);                                                    \
    CHECK(got == (wanted), "%s returned %ld: %s", #call, got, strerror(errno)); \
  } while (0)

static void write_pipe(void) { RETURNS(write(ends[1], "0123456789", 10), 10); }
static void kick(void) { CHECK(!pthread_kill(main_thread, SIGUSR1), "pthread_kill"); }
static void nothing(void) {}

// ---- read and write
// -----------------------------------------------------------------------------------------------
static char bytes[200000];
static void read_pipe(void) {
  RETURNS(read(ends[0], bytes, sizeof bytes), 10);
  was_released();
}
static void readv_pipe(void) {
  struct iovec parts[2] = {{bytes, 4}, {bytes + 100, 100}};
  RETURNS(readv(ends[0], parts, 2), 10);
  CHECK(!memcmp(bytes, "0123", 4) && !memcmp(bytes + 100, "456789", 6), "readv content");
  was_released();
}
static void fill_pipe(void) {
  make_pipe();
  fill(bytes, sizeof bytes, seed());
  MUST(fcntl(ends[1], F_SETFL, O_NONBLOCK));
  while (write(ends[1], bytes, 4096) > 0) {
  }
  MUST(fcntl(ends[1], F_SETFL, 0));
}
static void write_full_pipe(void) {
  RETURNS(write(ends[1], "0123456789", 10), 10);
  was_released();
}
static void drain_pipe(void) { RETURNS(read(ends[0], bytes, 8192), 8192); }

// ---- sleeping
// -------------------------------------------------------------------------------------------------------
static void sleep_nanosleep(void) {
  struct timespec span = span_ms(short_ms), left;  // `left` is written even when the kernel restarts the call
  start();
  RETURNS(nanosleep(&span, &left), 0);
  took(short_ms);
}
static void sleep_relative(void) {
  struct timespec span = span_ms(short_ms);
  start();
  RETURNS(clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL), 0);
  took(short_ms);
}
static void sleep_absolute_on(clockid_t clock) {
  struct timespec deadline = in_ms(clock, short_ms);
  RETURNS(clock_nanosleep(clock, TIMER_ABSTIME, &deadline, NULL), 0);
  CHECK(now_ns(clock) >= (uint64_t)deadline.tv_sec * 1000000000ULL + (uint64_t)deadline.tv_nsec,
        "woke up early");
}
static void sleep_monotonic(void) { sleep_absolute_on(CLOCK_MONOTONIC); }
static void sleep_realtime(void) { sleep_absolute_on(CLOCK_REALTIME); }

// ---- poll and select
// ------------------------------------------------------------------------------------------------
static void poll_infinite(void) {
  struct pollfd set = {ends[0], POLLIN, 0};
  RETURNS(poll(&set, 1, -1), 1);
  was_released();
}
static void poll_long(void) {
  struct pollfd set = {ends[0], POLLIN, 0};
  RETURNS(poll(&set, 1, 3600 * 1000), 1);
  was_released();
}
static void poll_stdin(void) {
  struct pollfd set = {0, POLLIN, 0};
  RETURNS(poll(&set, 1, -1), 1);
  wait_line();
}
static void poll_expires(void) {
  start();
  RETURNS(poll(NULL, 0, short_ms), 0);
  took(short_ms);
}
static void ppoll_mask(void) {
  // SIGUSR1 is blocked but during the wait.
  sigset_t none;
  sigemptyset(&none);
  errno = 0;
  int got = ppoll(NULL, 0, NULL, &none);
  CHECK(got == -1 && errno == EINTR && signals_seen == 1, "ppoll returned %d (%s), %d signals", got,
        strerror(errno), (int)signals_seen);
  was_released();
  sigset_t now;
  sigprocmask(SIG_BLOCK, NULL, &now);
  CHECK(sigismember(&now, SIGUSR1), "ppoll did not put the mask back");
}
static void ppoll_expires(void) {
  struct timespec span = span_ms(short_ms);
  struct pollfd set = {ends[0], POLLIN, 0};
  start();
  RETURNS(ppoll(&set, 1, &span, NULL), 0);
  took(short_ms);
}
static void select_infinite(void) {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(ends[0], &set);
  RETURNS(select(ends[0] + 1, &set, NULL, NULL, NULL), 1);
  was_released();
  CHECK(FD_ISSET(ends[0], &set), "select: the set");
}
static void select_stdin(void) {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(0, &set);
  struct timeval span = {3600, 0};
  RETURNS(select(1, &set, NULL, NULL, &span), 1);
  wait_line();
}
static void select_expires(void) {
  struct timeval span = {short_ms / 1000, short_ms % 1000 * 1000};
  start();
  RETURNS(select(0, NULL, NULL, NULL, &span), 0);
  took(short_ms);
}
static void pselect_mask(void) {
  sigset_t none;
  sigemptyset(&none);
  errno = 0;
  int got = pselect(0, NULL, NULL, NULL, NULL, &none);
  CHECK(got == -1 && errno == EINTR && signals_seen == 1, "pselect returned %d (%s), %d signals",
        got, strerror(errno), (int)signals_seen);
  was_released();
  sigset_t now;
  sigprocmask(SIG_BLOCK, NULL, &now);
  CHECK(sigismember(&now, SIGUSR1), "pselect did not put the mask back");
}
static void setup_masked(void) {
  handle_usr1(0);
  block_usr1();
}

// ---- signals
// --------------------------------------------------------------------------------------------------------
static void setup_handled(void) { handle_usr1(0); }
static void wait_pause(void) {
  errno = 0;
  int got = pause();
  CHECK(got == -1 && errno == EINTR && signals_seen == 1, "pause returned %d (%s), %d signals", got,
        strerror(errno), (int)signals_seen);
  was_released();
}
static void wait_sigsuspend(void) {
  sigset_t none;
  sigemptyset(&none);
  errno = 0;
  int got = sigsuspend(&none);
  CHECK(got == -1 && errno == EINTR && signals_seen == 1, "sigsuspend returned %d (%s), %d signals",
        got, strerror(errno), (int)signals_seen);
  was_released();
  sigset_t now;
  sigprocmask(SIG_BLOCK, NULL, &now);
  CHECK(sigismember(&now, SIGUSR1), "sigsuspend did not put the mask back");
}
static void wait_sigwait(void) {
  sigset_t set = only_usr1();
  int number = 0, error = sigwait(&set, &number);
  CHECK(!error && number == SIGUSR1, "sigwait returned %d, signal %d", error, number);
  was_released();
}
// A mere debugger's stop makes these return EINTR (signal(7)); the program should not see it all
// the same.
static void wait_sigwaitinfo(void) {
  sigset_t set = only_usr1();
  siginfo_t info;
  RETURNS(sigwaitinfo(&set, &info), SIGUSR1);
  was_released();
}
static void wait_sigtimedwait(void) {
  sigset_t set = only_usr1();
  struct timespec span = {3600, 0};
  RETURNS(sigtimedwait(&set, NULL, &span), SIGUSR1);
  was_released();
}

// ---- futexes
// --------------------------------------------------------------------------------------------------------
static void lock_elsewhere_mutex(void) { CHECK(!pthread_mutex_lock(&mutex), "lock"); }
static void unlock_mutex(void) { CHECK(!pthread_mutex_unlock(&mutex), "unlock"); }
static void wait_mutex(void) {
  RETURNS(pthread_mutex_lock(&mutex), 0);
  was_released();
}
static void wait_timedlock(void) {
  struct timespec deadline = in_ms(CLOCK_REALTIME, 3600 * 1000);
  RETURNS(pthread_mutex_timedlock(&mutex, &deadline), 0);
  was_released();
}
static void lock_elsewhere_pi(void) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
  CHECK(!pthread_mutex_init(&pi_mutex, &attributes) && !pthread_mutex_lock(&pi_mutex), "lock");
}
static void unlock_pi(void) { CHECK(!pthread_mutex_unlock(&pi_mutex), "unlock"); }
static void wait_pi(void) {
  RETURNS(pthread_mutex_lock(&pi_mutex), 0);
  was_released();
}
static void lock_elsewhere_rwlock(void) { CHECK(!pthread_rwlock_wrlock(&rwlock), "lock"); }
static void unlock_rwlock(void) { CHECK(!pthread_rwlock_unlock(&rwlock), "unlock"); }
static void wait_rwlock(void) {
  RETURNS(pthread_rwlock_rdlock(&rwlock), 0);
  was_released();
}
static void wait_condition(void) {
  pthread_mutex_lock(&mutex);
  while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST))
    RETURNS(pthread_cond_wait(&condition, &mutex), 0);
  pthread_mutex_unlock(&mutex);
}
static void wait_condition_long(void) {
  struct timespec deadline = in_ms(CLOCK_REALTIME, 3600 * 1000);
  pthread_mutex_lock(&mutex);
  while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST))
    RETURNS(pthread_cond_timedwait(&condition, &mutex, &deadline), 0);
  pthread_mutex_unlock(&mutex);
}
static void signal_condition(void) {
  pthread_mutex_lock(&mutex);
  pthread_cond_broadcast(&condition);
  pthread_mutex_unlock(&mutex);
}
static void wait_condition_expires(void) {
  struct timespec deadline = in_ms(CLOCK_REALTIME, short_ms);
  start();
  pthread_mutex_lock(&mutex);
  RETURNS(pthread_cond_timedwait(&condition, &mutex, &deadline), ETIMEDOUT);
  pthread_mutex_unlock(&mutex);
  CHECK(now_ns(CLOCK_REALTIME) >=
            (uint64_t)deadline.tv_sec * 1000000000ULL + (uint64_t)deadline.tv_nsec,
        "early");
}
static void setup_semaphore(void) { MUST(sem_init(&semaphore, 0, 0)); }
static void post(void) { MUST(sem_post(&semaphore)); }
static void wait_semaphore(void) {
  RETURNS(sem_wait(&semaphore), 0);
  was_released();
}
static void wait_semaphore_long(void) {
  struct timespec deadline = in_ms(CLOCK_REALTIME, 3600 * 1000);
  RETURNS(sem_timedwait(&semaphore, &deadline), 0);
  was_released();
}
static void wait_semaphore_expires(void) {
  struct timespec deadline = in_ms(CLOCK_REALTIME, short_ms);
  errno = 0;
  int got = sem_timedwait(&semaphore, &deadline);
  CHECK(got == -1 && errno == ETIMEDOUT, "sem_timedwait returned %d: %s", got, strerror(errno));
  CHECK(now_ns(CLOCK_REALTIME) >=
            (uint64_t)deadline.tv_sec * 1000000000ULL + (uint64_t)deadline.tv_nsec,
        "early");
}
static void setup_barrier(void) { pthread_barrier_init(&barrier, NULL, 2); }
static void meet(void) { pthread_barrier_wait(&barrier); }
static void wait_barrier(void) {
  pthread_barrier_wait(&barrier);
  was_released();
}
static void* sleeper(void* unused) {
  while (!__atomic_load_n(&word, __ATOMIC_SEQ_CST)) futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL);
  return unused;
}
static void wake_word(void) {
  __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
  futex(&word, FUTEX_WAKE_PRIVATE, 100, NULL);
}
static void wait_join(void) {
  pthread_t thread;
  CHECK(!pthread_create(&thread, NULL, sleeper, NULL), "pthread_create");
  RETURNS(pthread_join(thread, NULL), 0);
  was_released();
}
static void futex_infinite(void) {
  RETURNS(futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL), 0);
  was_released();
}
static void futex_relative(
    void) {  // the one futex wait that the kernel restarts by its restart block
  struct timespec span = {3600, 0};
  RETURNS(futex(&word, FUTEX_WAIT_PRIVATE, 0, &span), 0);
  was_released();
}
static void futex_expires(void) {
  struct timespec span = span_ms(short_ms);
  start();
  errno = 0;
  long got = futex(&word, FUTEX_WAIT_PRIVATE, 0, &span);
  CHECK(got == -1 && errno == ETIMEDOUT, "futex returned %ld: %s", got, strerror(errno));
  took(short_ms);
}
static void futex_shared(void) {
  RETURNS(futex(&word, FUTEX_WAIT, 0, NULL), 0);
  was_released();
}
static void wake_shared(void) {
  __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
  futex(&word, FUTEX_WAKE, 100, NULL);
}

// ---- other kinds of descriptors: a save must not disturb them
// ---------------------------------------------------------
static void make_sockets(void) { MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends)); }
static void recv_socket(void) {
  RETURNS(recv(ends[0], bytes, sizeof bytes, 0), 10);
  was_released();
}
static void recv_timeout_setup(void) {
  make_sockets();
  struct timeval span = {3600, 0};
  MUST(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &span, sizeof span));
}
static struct sockaddr_un address;
static void listen_setup(void) {
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "ckpt-%llx",
           (unsigned long long)seed());
  MUST(ends[0] = socket(AF_UNIX, SOCK_STREAM, 0));
  MUST(bind(ends[0], (struct sockaddr*)&address, sizeof address));
  MUST(listen(ends[0], 5));
}
static void accept_one(void) {
  int fd = accept(ends[0], NULL, NULL);
  CHECK(fd >= 0, "accept: %s", strerror(errno));
  was_released();
}
static void connect_one(void) {
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  MUST(fd);
  MUST(connect(fd, (struct sockaddr*)&address, sizeof address));
}
static int other_fd;
static void epoll_setup(void) {
  make_pipe();
  MUST(other_fd = epoll_create1(0));
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = 4711};
  MUST(epoll_ctl(other_fd, EPOLL_CTL_ADD, ends[0], &event));
}
static void epoll_infinite(void) {
  struct epoll_event event;
  RETURNS(epoll_wait(other_fd, &event, 1, -1), 1);
  CHECK(event.data.u64 == 4711, "epoll data");
  was_released();
}
static void epoll_long(void) {
  struct epoll_event event;
  RETURNS(epoll_wait(other_fd, &event, 1, 3600 * 1000), 1);
  was_released();
}
static void make_eventfd(void) { MUST(other_fd = eventfd(0, 0)); }
static void read_eventfd(void) {
  uint64_t value = 0;
  RETURNS(read(other_fd, &value, 8), 8);
  CHECK(value == 5, "eventfd value %llu", (unsigned long long)value);
  was_released();
}
static void eventfd_write_five(void) {
  uint64_t value = 5;
  RETURNS(write(other_fd, &value, 8), 8);
}
static void make_timerfd(void) {
  MUST(other_fd = timerfd_create(CLOCK_MONOTONIC, 0));
  struct itimerspec when = {.it_value = span_ms(short_ms)};
  start();
  MUST(timerfd_settime(other_fd, 0, &when, NULL));
}
static void read_timerfd(void) {
  uint64_t value = 0;
  RETURNS(read(other_fd, &value, 8), 8);
  CHECK(value == 1, "timerfd: %llu", (unsigned long long)value);
  took(short_ms);
}
static void make_signalfd(void) {
  block_usr1();
  sigset_t set = only_usr1();
  MUST(other_fd = signalfd(-1, &set, 0));
}
static void read_signalfd(void) {
  struct signalfd_siginfo info;
  RETURNS(read(other_fd, &info, sizeof info), (long)sizeof info);
  CHECK(info.ssi_signo == SIGUSR1, "signal %u", info.ssi_signo);
  was_released();
}
static pid_t child;
static void child_setup(void) {
  make_pipe();
  MUST(child = fork());
  if (!child) {
    char byte;
    close(ends[1]);
    ssize_t got = read(ends[0], &byte, 1);
    _exit(got == 1 ? 42 : 43);
  }
}
static void wait_child(void) {
  int status = 0;
  RETURNS(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42, "status %#x", status);
  was_released();
}
static void waitid_child(void) {
  siginfo_t info;
  RETURNS(waitid(P_PID, (id_t)child, &info, WEXITED), 0);
  CHECK(info.si_status == 42, "status %d", info.si_status);
  was_released();
}
static int queue;
static void msg_setup(void) { MUST(queue = msgget(IPC_PRIVATE, 0600)); }
static void msg_wait(void) {
  struct {
    long type;
    char text[16];
  } message;
  RETURNS(msgrcv(queue, &message, 16, 0, 0), 5);
  msgctl(queue, IPC_RMID, NULL);
  was_released();
}
static void msg_send(void) {
  struct {
    long type;
    char text[16];
  } message = {1, "hello"};
  RETURNS(msgsnd(queue, &message, 5, 0), 0);
}
static void semop_setup(void) { MUST(queue = semget(IPC_PRIVATE, 1, 0600)); }
static void semop_wait(void) {
  struct sembuf operation = {0, -1, 0};
  RETURNS(semop(queue, &operation, 1), 0);
  semctl(queue, 0, IPC_RMID);
  was_released();
}
static void semop_post(void) {
  struct sembuf operation = {0, 1, 0};
  RETURNS(semop(queue, &operation, 1), 0);
}
static int lock_fd;
static void flock_setup(void) {
  // Two open file descriptions of one file: flock conflicts between them.
  MUST(ends[0] = open("/tmp", O_TMPFILE | O_RDWR, 0600));
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
  MUST(lock_fd = open(path, O_RDWR));
  MUST(flock(lock_fd, LOCK_EX));
}
static void flock_wait(void) {
  RETURNS(flock(ends[0], LOCK_EX), 0);
  was_released();
}
static void flock_release(void) { MUST(flock(lock_fd, LOCK_UN)); }
static void make_inotify(void) {
  MUST(other_fd = inotify_init1(0));
  MUST(lock_fd = open("/tmp", O_TMPFILE | O_RDWR, 0600));
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", lock_fd);
  MUST(inotify_add_watch(other_fd, path, IN_MODIFY));
}
static void read_inotify(void) {
  RETURNS(read(other_fd, bytes, sizeof bytes), (long)sizeof(struct inotify_event));
  was_released();
}
static void inotify_modify(void) { RETURNS(write(lock_fd, "x", 1), 1); }

static const struct blocking_case {
  const char* name;
  const char* by;  // line: a line on stdin releases it; time: it ends by itself
  const char* needs;
  void (*setup)(void);
  void (*block)(void);
  void (*release)(
      void);  // called by the thread that read the line; NULL: the main thread reads it itself
  int other_thread_sets_up;  // the lock must belong to the releasing thread
} cases[] = {
    {"nanosleep", "time", "inside", nothing, sleep_nanosleep, NULL, 0},
    {"clock_nanosleep", "time", "inside", nothing, sleep_relative, NULL, 0},
    {"clock_nanosleep_monotonic", "time", "inside", nothing, sleep_monotonic, NULL, 0},
    {"clock_nanosleep_realtime", "time", "inside", nothing, sleep_realtime, NULL, 0},
    {"poll_stdin", "line", "inside", nothing, poll_stdin, NULL, 0},
    {"poll_expires", "time", "inside", nothing, poll_expires, NULL, 0},
    {"select_stdin", "line", "inside", nothing, select_stdin, NULL, 0},
    {"select_expires", "time", "inside", nothing, select_expires, NULL, 0},
    {"ppoll_mask", "line", "inside", setup_masked, ppoll_mask, kick, 0},
    {"pselect_mask", "line", "inside", setup_masked, pselect_mask, kick, 0},
    {"pause", "line", "inside", setup_handled, wait_pause, kick, 0},
    {"sigsuspend", "line", "inside", setup_masked, wait_sigsuspend, kick, 0},
    {"sigwait", "line", "inside", block_usr1, wait_sigwait, kick, 0},
    {"sigwaitinfo", "line", "inside", block_usr1, wait_sigwaitinfo, kick, 0},
    {"sigtimedwait", "line", "inside", block_usr1, wait_sigtimedwait, kick, 0},
    {"mutex", "line", "inside", lock_elsewhere_mutex, wait_mutex, unlock_mutex, 1},
    {"mutex_timedlock", "line", "inside", lock_elsewhere_mutex, wait_timedlock, unlock_mutex, 1},
    {"mutex_pi", "line", "inside", lock_elsewhere_pi, wait_pi, unlock_pi, 1},
    {"rwlock", "line", "inside", lock_elsewhere_rwlock, wait_rwlock, unlock_rwlock, 1},
    {"cond", "line", "inside", nothing, wait_condition, signal_condition, 0},
    {"cond_timedwait", "line", "inside", nothing, wait_condition_long, signal_condition, 0},
    {"cond_expires", "time", "inside", nothing, wait_condition_expires, NULL, 0},
    {"sem", "line", "inside", setup_semaphore, wait_semaphore, post, 0},
    {"sem_timedwait", "line", "inside", setup_semaphore, wait_semaphore_long, post, 0},
    {"sem_expires", "time", "inside", setup_semaphore, wait_semaphore_expires, NULL, 0},
    {"barrier", "line", "inside", setup_barrier, wait_barrier, meet, 0},
    {"join", "line", "inside", nothing, wait_join, wake_word, 0},
    {"futex", "line", "inside", nothing, futex_infinite, wake_word, 0},
    {"futex_timeout", "line", "inside", nothing, futex_relative, wake_word, 0},
    {"futex_expires", "time", "inside", nothing, futex_expires, NULL, 0},
    {"futex_shared", "line", "inside", nothing, futex_shared, wake_shared, 0},
    {"read_pipe", "line", "pipe", make_pipe, read_pipe, write_pipe, 0},
    {"readv_pipe", "line", "pipe", make_pipe, readv_pipe, write_pipe, 0},
    {"write_full_pipe", "line", "pipe", fill_pipe, write_full_pipe, drain_pipe, 0},
    {"poll", "line", "pipe", make_pipe, poll_infinite, write_pipe, 0},
    {"poll_timeout", "line", "pipe", make_pipe, poll_long, write_pipe, 0},
    {"ppoll_expires", "time", "pipe", make_pipe, ppoll_expires, NULL, 0},
    {"select", "line", "pipe", make_pipe, select_infinite, write_pipe, 0},
    {"recv", "line", "other", make_sockets, recv_socket, write_pipe, 0},
    {"recv_timeout", "line", "other", recv_timeout_setup, recv_socket, write_pipe, 0},
    {"accept", "line", "other", listen_setup, accept_one, connect_one, 0},
    {"epoll_wait", "line", "other", epoll_setup, epoll_infinite, write_pipe, 0},
    {"epoll_wait_timeout", "line", "other", epoll_setup, epoll_long, write_pipe, 0},
    {"eventfd", "line", "other", make_eventfd, read_eventfd, eventfd_write_five, 0},
    {"timerfd", "time", "other", make_timerfd, read_timerfd, NULL, 0},
    {"signalfd", "line", "other", make_signalfd, read_signalfd, kick, 0},
    {"waitpid", "line", "other", child_setup, wait_child, write_pipe, 0},
    {"waitid", "line", "other", child_setup, waitid_child, write_pipe, 0},
    {"msgrcv", "line", "other", msg_setup, msg_wait, msg_send, 0},
    {"semop", "line", "other", semop_setup, semop_wait, semop_post, 0},
    {"flock", "line", "other", flock_setup, flock_wait, flock_release, 0},
    {"inotify", "line", "other", make_inotify, read_inotify, inotify_modify, 0},
};
enum { COUNT = sizeof cases / sizeof *cases };
static const struct blocking_case* subject;

static int about_to_block;

// pause() and the like would miss a release that comes before they block. The main thread is the
// leader, whose state stands in /proc/self/stat whatever its id is.
static void main_thread_sleeps(void) {
  char text[512], *state;
  while (!__atomic_load_n(&about_to_block, __ATOMIC_SEQ_CST)) sched_yield();
  do {
    int fd = open("/proc/self/stat", O_RDONLY);
    ssize_t got = read(fd, text, sizeof text - 1);
    CHECK(fd >= 0 && got > 0, "/proc/self/stat: %s", strerror(errno));
    close(fd);
    text[got] = 0;
    state = strrchr(text, ')') + 2;
  } while (*state != 'S' && !sched_yield());
}

static void* releaser(void* unused) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, NULL);
  if (subject->other_thread_sets_up) subject->setup();
  MUST(sem_post(&blocker_ready));
  wait_line();
  main_thread_sleeps();
  __atomic_store_n(&released, 1, __ATOMIC_SEQ_CST);
  subject->release();
  return unused;
}

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: blocked CASE | --list");
  for (int i = 0; i < COUNT; i++) {
    if (!strcmp(argv[1], "--list")) say("%s %s %s", cases[i].name, cases[i].by, cases[i].needs);
    if (!strcmp(argv[1], cases[i].name)) subject = &cases[i];
  }
  if (!strcmp(argv[1], "--list")) return 0;
  CHECK(subject, "no case %s", argv[1]);
  if (getenv("CKPT_TEST_SHORT_MS")) short_ms = atol(getenv("CKPT_TEST_SHORT_MS"));
  seed();
  main_thread = pthread_self();
  MUST(sem_init(&blocker_ready, 0, 0));
  if (!subject->other_thread_sets_up) subject->setup();
  pthread_t thread;
  if (subject->release) {
    CHECK(!pthread_create(&thread, NULL, releaser, NULL), "pthread_create");
    MUST(sem_wait(&blocker_ready));
  }
  ready();
  __atomic_store_n(&about_to_block, 1, __ATOMIC_SEQ_CST);
  subject->block();
  if (subject->release) CHECK(!pthread_join(thread, NULL), "pthread_join");
  return pass();
}
