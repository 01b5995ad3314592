// epoll sets, and calls that wait for descriptors.
#include "fd.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>

static int set = -1, event = -1, ends[2] = {-1, -1};

static void add(int to, int fd, uint32_t events, uint64_t data) {
  struct epoll_event entry = {.events = events, .data.u64 = data};
  MUST(epoll_ctl(to, EPOLL_CTL_ADD, fd, &entry));
}
static void signal_event(void) {
  uint64_t one = 1;
  CHECK(write(event, &one, 8) == 8, "write");
}
// One event with this data, or none for 0.
static void expect_event(uint64_t data) {
  struct epoll_event found[4];
  int count = epoll_wait(set, found, 4, 0);
  if (!data) {
    CHECK(count == 0, "%d events", count);
    return;
  }
  CHECK(count == 1 && found[0].data.u64 == data, "%d events, the first of %llx", count,
        count > 0 ? (unsigned long long)found[0].data.u64 : 0);
}
static void make(uint32_t events, unsigned initially) {
  MUST(set = epoll_create1(EPOLL_CLOEXEC));
  MUST(event = eventfd(initially, EFD_NONBLOCK));
  add(set, event, events, 0xfedcba9876543210ULL);
}
static const uint64_t kData = 0xfedcba9876543210ULL;

static void level(void) { make(EPOLLIN, 0); }
static void check_level(void) {
  CHECK(fcntl(set, F_GETFD) & FD_CLOEXEC, "close-on-exec");
  expect_event(0);
  signal_event();
  expect_event(kData);
  expect_event(kData);
}
static void level_ready(void) { make(EPOLLIN, 1); }
static void check_level_ready(void) {
  expect_event(kData);
  expect_event(kData);
}
static void edge_reported(void) {
  make(EPOLLIN | EPOLLET, 1);
  expect_event(kData);
}
static void check_edge_reported(void) {
  expect_event(0);
  signal_event();
  expect_event(kData);
  expect_event(0);
}
static void edge_pending(void) { make(EPOLLIN | EPOLLET, 1); }
static void check_edge_pending(void) {
  expect_event(kData);
  expect_event(0);
}
static void oneshot_armed(void) { make(EPOLLIN | EPOLLONESHOT, 0); }
static void check_oneshot_armed(void) {
  signal_event();
  expect_event(kData);
  expect_event(0);
}
static void oneshot_spent(void) {
  make(EPOLLIN | EPOLLONESHOT, 1);
  expect_event(kData);
}
static void check_oneshot_spent(void) {
  expect_event(0);
  signal_event();
  expect_event(0);
  struct epoll_event entry = {.events = EPOLLIN, .data.u64 = 5};
  CHECK(!epoll_ctl(set, EPOLL_CTL_MOD, event, &entry), "EPOLL_CTL_MOD: %s", strerror(errno));
  expect_event(5);
}
static void nested(void) {
  int inner = epoll_create1(0);
  MUST(inner);
  MUST(event = eventfd(0, 0));
  add(inner, event, EPOLLIN, 1);
  MUST(set = epoll_create1(0));
  add(set, inner, EPOLLIN, 2);
}
static void check_nested(void) {
  expect_event(0);
  signal_event();
  expect_event(2);
}
// The number of an entry stays that of its descriptor when it was added, even if that is closed.
static void closed_number(void) {
  MUST(set = epoll_create1(0));
  MUST(event = eventfd(0, EFD_NONBLOCK));
  int number = dup(event);
  MUST(number);
  add(set, number, EPOLLIN, 77);
  MUST(close(number));
}
static void check_closed_number(void) {
  expect_event(0);
  signal_event();
  expect_event(77);
}
static void reused_number(void) {
  closed_number();
  MUST(pipe(ends));
}
static void check_reused_number(void) {
  check_closed_number();
  put_bytes(ends[1], "x");
  expect_bytes(ends[0], "x");
}
static void two_of_one_number(void) {
  closed_number();
  MUST(pipe(ends));
  add(set, ends[0], EPOLLIN, 78);
}
static void check_two_of_one_number(void) {
  expect_event(0);
  put_bytes(ends[1], "x");
  expect_event(78);
  expect_bytes(ends[0], "x");
  signal_event();
  expect_event(77);
}
static void change_later(void) {
  make(EPOLLIN, 0);
  MUST(pipe(ends));
  add(set, ends[0], EPOLLIN, 9);
}
static void check_change_later(void) {
  struct epoll_event entry = {.events = EPOLLIN, .data.u64 = 10};
  CHECK(!epoll_ctl(set, EPOLL_CTL_MOD, ends[0], &entry), "MOD: %s", strerror(errno));
  CHECK(epoll_ctl(set, EPOLL_CTL_ADD, event, &entry) == -1 && errno == EEXIST, "ADD");
  CHECK(!epoll_ctl(set, EPOLL_CTL_DEL, event, NULL), "DEL: %s", strerror(errno));
  signal_event();
  put_bytes(ends[1], "x");
  expect_event(10);
}
enum { MANY = 300 };
static int many_fds[MANY];
static void many(void) {
  MUST(set = epoll_create1(0));
  for (int i = 0; i < MANY; i++) {
    MUST(many_fds[i] = eventfd(0, 0));
    add(set, many_fds[i], EPOLLIN | (i % 2 ? EPOLLET : 0), 1000 + (uint64_t)i);
  }
}
static void check_many(void) {
  for (int i = 0; i < MANY; i++) {
    uint64_t one = 1;
    CHECK(write(many_fds[i], &one, 8) == 8, "write");
    expect_event(1000 + (uint64_t)i);
    CHECK(read(many_fds[i], &one, 8) == 8 && one == 1, "read");
  }
  expect_event(0);
}
static void empty(void) { MUST(set = epoll_create1(0)); }
// How it looks at devices itself, Linux 6.9.
struct polling {
  uint32_t microseconds;
  uint16_t budget;
  uint8_t prefer, padding;
};
static const struct polling polls = {33, 7, 1, 0};
static void busy_polling(void) {
  empty();
  if (ioctl(set, _IOW(0x8A, 1, struct polling), &polls)) SKIP("EPIOCSPARAMS: %s", strerror(errno));
}
static void check_busy_polling(void) {
  struct polling now;
  MUST(ioctl(set, _IOR(0x8A, 2, struct polling), &now));
  CHECK(!memcmp(&now, &polls, sizeof now), "%u microseconds, budget %u", now.microseconds,
        now.budget);
}

// ---- waiting
static const char* way;
static void* wait_for_it(void* unused) {
  (void)unused;
  struct epoll_event found = {0};
  struct pollfd entry = {.fd = event, .events = POLLIN};
  fd_set reading;
  FD_ZERO(&reading);
  FD_SET(event, &reading);
  sigset_t none;
  sigemptyset(&none);
  long count = -1;
  if (!strcmp(way, "epoll_wait")) count = epoll_wait(set, &found, 1, -1);
  if (!strcmp(way, "epoll_pwait")) count = epoll_pwait(set, &found, 1, -1, &none);
  if (!strcmp(way, "epoll_pwait2")) count = syscall(441, set, &found, 1, NULL, &none, 8);
  if (!strcmp(way, "poll")) count = poll(&entry, 1, -1);
  if (!strcmp(way, "ppoll")) count = ppoll(&entry, 1, NULL, &none);
  if (!strcmp(way, "select")) count = select(event + 1, &reading, NULL, NULL, NULL);
  if (!strcmp(way, "pselect")) count = pselect(event + 1, &reading, NULL, NULL, NULL, &none);
  if (count != 1) FAIL("%s: %ld, %s", way, count, strerror(errno));
  if (found.events && found.data.u64 != kData) FAIL("%s: the event's data", way);
  return (void*)1;
}
static void waiting(const char* call) {
  way = call;
  make(EPOLLIN, 0);
  begin_helper(wait_for_it);
}
static void check_waiting(void) {
  signal_event();
  CHECK(end_helper() == 1, "the waiting thread");
}
#define WAITING(call) \
  static void wait_##call(void) { waiting(#call); }
WAITING(epoll_wait)
WAITING(epoll_pwait)
WAITING(epoll_pwait2)
WAITING(poll)
WAITING(ppoll)
WAITING(select)
WAITING(pselect)

int main(int argc, char** argv) {
  static const struct subject subjects[] = {
      {"level", level, check_level},
      {"level_ready", level_ready, check_level_ready},
      {"edge_reported", edge_reported, check_edge_reported},
      {"edge_pending", edge_pending, check_edge_pending},
      {"oneshot_armed", oneshot_armed, check_oneshot_armed},
      {"oneshot_spent", oneshot_spent, check_oneshot_spent},
      {"nested", nested, check_nested},
      {"closed_number", closed_number, check_closed_number},
      {"reused_number", reused_number, check_reused_number},
      {"two_of_one_number", two_of_one_number, check_two_of_one_number},
      {"change_later", change_later, check_change_later},
      {"many", many, check_many},
      {"empty", empty, empty},
      {"busy_polling", busy_polling, check_busy_polling},
      {"wait_epoll_wait", wait_epoll_wait, check_waiting},
      {"wait_epoll_pwait", wait_epoll_pwait, check_waiting},
      {"wait_epoll_pwait2", wait_epoll_pwait2, check_waiting},
      {"wait_poll", wait_poll, check_waiting},
      {"wait_ppoll", wait_ppoll, check_waiting},
      {"wait_select", wait_select, check_waiting},
      {"wait_pselect", wait_pselect, check_waiting},
      {NULL, NULL, NULL}};
  return run_subject(argc, argv, subjects);
}
