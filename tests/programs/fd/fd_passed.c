// Descriptors of every kind that are in a message only (SCM_RIGHTS): nothing else leads to them.
#include "fd.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

static int ends[2] = {-1, -1}, other = -1, through[2] = {-1, -1};
static char place[64];

static void pass_on(int fd) {
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr head;
  } control = {.bytes = {0}};
  struct iovec piece = {.iov_base = "m", .iov_len = 1};
  struct msghdr message = {.msg_iov = &piece,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
  MUST(fd);
  if (ends[0] < 0) MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  control.head.cmsg_level = SOL_SOCKET;
  control.head.cmsg_type = SCM_RIGHTS;
  control.head.cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
  MUST(sendmsg(ends[0], &message, 0));
  MUST(close(fd));
}
static int take(void) {
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr head;
  } control;
  char into;
  struct iovec piece = {.iov_base = &into, .iov_len = 1};
  struct msghdr message = {.msg_iov = &piece,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
  ssize_t got = recvmsg(ends[1], &message, MSG_DONTWAIT);
  struct cmsghdr* head = CMSG_FIRSTHDR(&message);
  CHECK(got == 1 && head && head->cmsg_type == SCM_RIGHTS, "no descriptor: %zd", got);
  int fd;
  memcpy(&fd, CMSG_DATA(head), sizeof fd);
  return fd;
}
static void make_place(const char* name) {
  CHECK(snprintf(place, sizeof place, "%s", name) < (int)sizeof place, "set-up: the name");
}
static uint64_t count_of(int fd) {
  uint64_t count = 0;
  ssize_t got = read(fd, &count, sizeof count);
  CHECK(got == sizeof count, "read: %s", strerror(errno));
  return count;
}

static void timer_with(int64_t seconds, int64_t interval) {
  const struct itimerspec time = {.it_value.tv_sec = seconds, .it_interval.tv_sec = interval};
  int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  MUST(timerfd_settime(fd, 0, &time, NULL));
  pass_on(fd);
}
static void timer(void) { timer_with(5000, 77); }
static void check_timer(void) {
  struct itimerspec now;
  int fd = take();
  MUST(timerfd_gettime(fd, &now));
  CHECK(now.it_value.tv_sec > 4000 && now.it_interval.tv_sec == 77, "%ld s, then %ld s",
        (long)now.it_value.tv_sec, (long)now.it_interval.tv_sec);
}
static void timer_expired(void) {
  const struct itimerspec soon = {.it_value.tv_nsec = 1};
  int fd = timerfd_create(CLOCK_MONOTONIC, 0);
  MUST(timerfd_settime(fd, 0, &soon, NULL));
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  MUST(poll(&ready, 1, -1));
  pass_on(fd);
}
static void check_timer_expired(void) {
  int fd = take();
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  CHECK(poll(&ready, 1, 10000) == 1 && count_of(fd) == 1, "it has not expired");
}

static void open_place(void) {
  make_place("passed-locked");
  MUST(other = open(place, O_RDWR | O_CREAT, 0600));
}
static void lock_whole(void) {
  open_place();
  MUST(flock(other, LOCK_EX));
  pass_on(other);
}
static void check_lock_whole(void) {
  MUST(other = open(place, O_RDWR));
  CHECK(flock(other, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK, "there is no lock");
  int fd = take();
  MUST(close(fd));
  MUST(flock(other, LOCK_EX | LOCK_NB));
}
static struct flock bytes_of_lock(void) {
  return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 3, .l_len = 4};
}
static void lock_bytes(void) {
  struct flock wanted = bytes_of_lock();
  open_place();
  MUST(fcntl(other, F_OFD_SETLK, &wanted));
  pass_on(other);
}
static void check_lock_bytes(void) {
  struct flock found = bytes_of_lock();
  MUST(other = open(place, O_RDWR));
  MUST(fcntl(other, F_OFD_GETLK, &found));
  CHECK(found.l_type == F_WRLCK && found.l_start == 3 && found.l_len == 4, "a lock of type %d",
        found.l_type);
  take();
}
// The process's own record lock on a file of which another description is in a message.
static void lock_beside(void) {
  struct flock wanted = bytes_of_lock();
  open_place();
  int passed = open(place, O_RDONLY);
  pass_on(passed);
  MUST(fcntl(other, F_SETLK, &wanted));
}
static void check_lock_beside(void) {
  struct flock found = bytes_of_lock();
  int status = -1;
  pid_t child = fork();
  if (child == 0) _exit(fcntl(other, F_GETLK, &found) || found.l_type != F_WRLCK);
  CHECK(waitpid(child, &status, 0) == child && status == 0, "there is no lock");
  take();
}

static void event(void) { pass_on(eventfd(5, EFD_SEMAPHORE | EFD_NONBLOCK)); }
static void check_event(void) {
  int fd = take();
  for (int i = 0; i < 5; i++) CHECK(count_of(fd) == 1, "count");
  expect_nothing(fd);
}
static void signals(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  MUST(sigprocmask(SIG_BLOCK, &set, NULL));
  pass_on(signalfd(-1, &set, 0));
}
static void check_signals(void) {
  struct signalfd_siginfo told;
  int fd = take();
  MUST(raise(SIGUSR1));
  CHECK(read(fd, &told, sizeof told) == sizeof told && told.ssi_signo == SIGUSR1, "the signal");
}
static void watch(int set, int fd, uint64_t data) {
  struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = data};
  MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &wanted));
}
static void expect_event(int set, uint64_t data) {
  struct epoll_event told[4];
  int got = epoll_wait(set, told, 4, 0);
  CHECK(got == 1 && told[0].data.u64 == data, "%d events", got);
}
static void poll_set(void) {
  int set = epoll_create1(0);
  MUST(other = eventfd(0, 0));
  MUST(pipe(through));
  watch(set, other, 11);
  watch(set, through[0], 12);
  pass_on(set);
}
static void check_poll_set(void) {
  uint64_t one = 1;
  int set = take();
  expect_nothing(set);
  MUST(write(other, &one, sizeof one));
  expect_event(set, 11);
  count_of(other);
  put_bytes(through[1], "x");
  expect_event(set, 12);
}
// What the set watches is in a message, too.
static void poll_set_of_passed(void) {
  int set = epoll_create1(0), event_fd = eventfd(0, 0);
  watch(set, event_fd, 13);
  pass_on(set);
  pass_on(event_fd);
}
static void check_poll_set_of_passed(void) {
  uint64_t one = 1;
  int set = take(), event_fd = take();
  expect_nothing(set);
  MUST(write(event_fd, &one, sizeof one));
  expect_event(set, 13);
}
static void polled_passed(void) {
  int event_fd = eventfd(0, 0);
  MUST(other = epoll_create1(0));
  watch(other, event_fd, 14);
  pass_on(event_fd);
}
static void check_polled_passed(void) {
  uint64_t one = 1;
  int event_fd = take();
  expect_nothing(other);
  MUST(write(event_fd, &one, sizeof one));
  expect_event(other, 14);
}
static void watches(void) {
  int fd = inotify_init1(IN_NONBLOCK);
  make_place("passed-watched");
  if (mkdir(place, 0700) && errno != EEXIST) FAIL("set-up: mkdir");
  MUST(inotify_add_watch(fd, place, IN_CREATE));
  pass_on(fd);
}
static void check_watches(void) {
  char told[300], name[100];
  int fd = take();
  expect_nothing(fd);
  snprintf(name, sizeof name, "%s/new", place);
  MUST(close(open(name, O_CREAT | O_WRONLY, 0600)));
  CHECK(read(fd, told, sizeof told) > 0, "no event: %s", strerror(errno));
  MUST(unlink(name));
}
static void owned(void) {
  MUST(pipe(through));
  MUST(fcntl(through[0], F_SETOWN, getpid()));
  MUST(fcntl(through[0], F_SETSIG, SIGUSR2));
  MUST(fcntl(through[0], F_SETFL, O_ASYNC | O_NONBLOCK));
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  MUST(sigprocmask(SIG_BLOCK, &set, NULL));
  pass_on(through[0]);
}
static void check_owned(void) {
  sigset_t set;
  const struct timespec soon = {.tv_sec = 10};
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  put_bytes(through[1], "x");
  CHECK(sigtimedwait(&set, NULL, &soon) == SIGUSR2, "no signal");
  expect_bytes(take(), "x");
}
// Another message holds the one that holds it.
static void nested(void) {
  int inner[2];
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, inner));
  ends[0] = inner[0];
  timer_with(5000, 0);
  ends[0] = -1;
  pass_on(inner[1]);
  MUST(close(inner[0]));
}
static void check_nested(void) {
  int outer = ends[1];
  ends[1] = take();
  struct itimerspec now;
  MUST(timerfd_gettime(take(), &now));
  CHECK(now.it_value.tv_sec > 4000, "%ld s", (long)now.it_value.tv_sec);
  MUST(close(outer));
}

// Bytes that were sent before, without a descriptor, and behind.
static void behind_bytes(void) {
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  put_bytes(ends[0], "before");
  put_bytes(ends[0], " it");
  pass_on(eventfd(3, 0));
  pass_on(eventfd(4, 0));
  put_bytes(ends[0], "behind it");
}
static void check_behind_bytes(void) {
  char bytes[9];
  CHECK(read(ends[1], bytes, 9) == 9 && !memcmp(bytes, "before it", 9), "what is before it");
  for (uint64_t count = 3; count <= 4; count++) CHECK(count_of(take()) == count, "the count");
  expect_bytes(ends[1], "behind it");
}

int main(int argc, char** argv) {
  static const struct subject subjects[] = {
      {"timer", timer, check_timer},
      {"timer_expired", timer_expired, check_timer_expired},
      {"lock_whole", lock_whole, check_lock_whole},
      {"lock_bytes", lock_bytes, check_lock_bytes},
      {"lock_beside", lock_beside, check_lock_beside},
      {"event", event, check_event},
      {"signals", signals, check_signals},
      {"poll_set", poll_set, check_poll_set},
      {"poll_set_of_passed", poll_set_of_passed, check_poll_set_of_passed},
      {"polled_passed", polled_passed, check_polled_passed},
      {"watches", watches, check_watches},
      {"owned", owned, check_owned},
      {"nested", nested, check_nested},
      {"behind_bytes", behind_bytes, check_behind_bytes},
      {NULL, NULL, NULL}};
  return run_subject(argc, argv, subjects);
}
