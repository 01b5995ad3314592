// usage: proc_timeouts CASE | --list. A call with a time-out is interrupted by the save. It ends by
// its time-out all the same: neither the original nor the restored program sees EINTR, nor a wait
// that is shorter than it asked for, nor one that is longer by more than the time-out (and the time
// it takes to save and restore it). The time-out is $CKPT_TEST_WAIT_MS.
#include "selfcheck.h"

#include <poll.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>

enum { SLACK_MS = 20000 };
static int wait_ms;

static uint64_t begun_ns;
static int ends[2];
static struct timespec span;

static struct timespec deadline(clockid_t clock) {
  uint64_t at = now_ns(clock) + (uint64_t)wait_ms * 1000000ULL;
  return (struct timespec){(time_t)(at / 1000000000ULL), (long)(at % 1000000000ULL)};
}
static void begin(void) {
  ready();
  begun_ns = now_ns(CLOCK_MONOTONIC);
}
#define ENDS(call, wanted, wanted_errno)                                                       \
  do {                                                                                         \
    errno = 0;                                                                                 \
    long got = (long)(call);                                                                   \
    int error = errno;                                                                         \
    CHECK(got == (wanted) && (got >= 0 || error == (wanted_errno)), "%s gives %ld: %s", #call, \
          got, strerror(error));                                                               \
  } while (0)

static void do_nanosleep(void) {
  begin();
  ENDS(nanosleep(&span, NULL), 0, 0);
}
static void do_relative(void) {
  begin();
  ENDS(clock_nanosleep(CLOCK_BOOTTIME, 0, &span, NULL), 0, 0);
}
static void do_absolute(void) {
  begin();
  struct timespec until = deadline(CLOCK_MONOTONIC);
  ENDS(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL), 0, 0);
}
static void do_poll(void) {
  begin();
  struct pollfd set = {ends[0], POLLIN, 0};
  ENDS(poll(&set, 1, wait_ms), 0, 0);
}
static void do_ppoll(void) {
  begin();
  sigset_t none;
  sigemptyset(&none);
  struct pollfd set = {ends[0], POLLIN, 0};
  ENDS(ppoll(&set, 1, &span, &none), 0, 0);
}
static void do_select(void) {
  begin();
  fd_set set;
  FD_ZERO(&set);
  FD_SET(ends[0], &set);
  struct timeval wait = {wait_ms / 1000, 0};
  ENDS(select(ends[0] + 1, &set, NULL, NULL, &wait), 0, 0);
}
static void do_pselect(void) {
  begin();
  sigset_t none;
  sigemptyset(&none);
  ENDS(pselect(0, NULL, NULL, NULL, &span, &none), 0, 0);
}
static void do_futex(void) {
  int word = 0;
  begin();
  ENDS(futex(&word, FUTEX_WAIT_PRIVATE, 0, &span), -1, ETIMEDOUT);
}
static void do_futex_absolute(void) {
  int word = 0;
  begin();
  struct timespec until = deadline(CLOCK_MONOTONIC);
  ENDS(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, &until, NULL, -1), -1, ETIMEDOUT);
}
static void do_condition(void) {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  begin();
  struct timespec until = deadline(CLOCK_MONOTONIC);
  pthread_mutex_lock(&mutex);
  ENDS(pthread_cond_clockwait(&condition, &mutex, CLOCK_MONOTONIC, &until), ETIMEDOUT, 0);
}
static void do_semaphore(void) {
  sem_t semaphore;
  MUST(sem_init(&semaphore, 0, 0));
  begin();
  struct timespec until = deadline(CLOCK_MONOTONIC);
  ENDS(sem_clockwait(&semaphore, CLOCK_MONOTONIC, &until), -1, ETIMEDOUT);
}
static void do_mutex(void) {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&mutex);
  begin();
  struct timespec until = deadline(CLOCK_MONOTONIC);
  ENDS(pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &until), ETIMEDOUT, 0);
}
static void do_sigtimedwait(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  begin();
  ENDS(sigtimedwait(&set, NULL, &span), -1, EAGAIN);
}
static int new_epoll(void) {
  int fd;
  MUST(fd = epoll_create1(0));
  struct epoll_event event = {.events = EPOLLIN};
  MUST(epoll_ctl(fd, EPOLL_CTL_ADD, ends[0], &event));
  return fd;
}
static void do_epoll_wait(void) {
  struct epoll_event event;
  int fd = new_epoll();
  begin();
  ENDS(epoll_wait(fd, &event, 1, wait_ms), 0, 0);
}
static void do_epoll_pwait2(void) {
  struct epoll_event event;
  int fd = new_epoll();
  begin();
  ENDS(syscall(441, fd, &event, 1, &span, NULL, 8), 0, 0);
}
static void do_semtimedop(void) {
  int id;
  MUST(id = semget(IPC_PRIVATE, 1, 0600));
  struct sembuf operation = {0, -1, 0};
  begin();
  int answer = semtimedop(id, &operation, 1, &span), saved_errno = errno;
  semctl(id, 0, IPC_RMID);  // the one that waits on does so in the original alone
  CHECK(answer == -1 && saved_errno == EAGAIN, "semtimedop gives %d: %s", answer,
        strerror(saved_errno));
}
static void set_timeout(int option) {
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  struct timeval wait = {wait_ms / 1000, 0};
  MUST(setsockopt(ends[0], SOL_SOCKET, option, &wait, sizeof wait));
}
static void do_recv(void) {
  char byte;
  set_timeout(SO_RCVTIMEO);
  begin();
  ENDS(recv(ends[0], &byte, 1, 0), -1, EAGAIN);
}
static void do_read(void) {
  char byte;
  set_timeout(SO_RCVTIMEO);
  begin();
  ENDS(read(ends[0], &byte, 1), -1, EAGAIN);
}
static void fill_socket(void) {
  static char bytes[4096];
  set_timeout(SO_SNDTIMEO);
  while (send(ends[0], bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
  }
}
static void do_send(void) {
  fill_socket();
  begin();
  ENDS(send(ends[0], "x", 1, 0), -1, EAGAIN);
}
static void do_write(void) {
  fill_socket();
  begin();
  ENDS(write(ends[0], "x", 1), -1, EAGAIN);
}

static const struct {
  const char* name;
  void (*wait)(void);
} cases[] = {
    {"nanosleep", do_nanosleep},
    {"clock_nanosleep", do_relative},
    {"clock_nanosleep_absolute", do_absolute},
    {"poll", do_poll},
    {"ppoll", do_ppoll},
    {"select", do_select},
    {"pselect", do_pselect},
    {"futex", do_futex},
    {"futex_absolute", do_futex_absolute},
    {"cond_clockwait", do_condition},
    {"sem_clockwait", do_semaphore},
    {"mutex_clocklock", do_mutex},
    {"sigtimedwait", do_sigtimedwait},
    {"epoll_wait", do_epoll_wait},
    {"epoll_pwait2", do_epoll_pwait2},
    {"semtimedop", do_semtimedop},
    {"recv", do_recv},
    {"read", do_read},
    {"send", do_send},
    {"write", do_write},
};
enum { COUNT = sizeof cases / sizeof *cases };

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: proc_timeouts CASE | --list");
  MUST(pipe(ends));
  const char* wait = getenv("CKPT_TEST_WAIT_MS");
  wait_ms = wait ? atoi(wait) : 1000;
  span = (struct timespec){wait_ms / 1000, wait_ms % 1000 * 1000000};
  for (int i = 0; i < COUNT; i++) {
    if (!strcmp(argv[1], "--list")) say("%s", cases[i].name);
    if (strcmp(argv[1], cases[i].name)) continue;
    cases[i].wait();
    uint64_t took_ms = (now_ns(CLOCK_MONOTONIC) - begun_ns) / 1000000;
    CHECK(took_ms >= (uint64_t)wait_ms, "it took %llu ms of %d", (unsigned long long)took_ms,
          wait_ms);
    CHECK(took_ms <= 2 * (uint64_t)wait_ms + SLACK_MS, "it took %llu ms of %d",
          (unsigned long long)took_ms, wait_ms);
    return pass();
  }
  CHECK(!strcmp(argv[1], "--list"), "no case %s", argv[1]);
  return 0;
}
