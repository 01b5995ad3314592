// Pipes and connections whose other end somebody else has, inherited, and what is found there after
// a restore.
//
// usage: fd_silent FD:WORD,WORD... ...
//   arrived  "arrived" can be read first
//   waits    then there is nothing to be read, and no end of it
//   ends     then comes the end of it
//   takes    10 MB can be written, and an empty packet
//   broken   nothing can be written
//   blocked  a thread waits in read(2) all the time, and nothing comes
// Checks them once for each line, and closes them all at a line "close".
#include "fd.h"

#include <sys/socket.h>

static int blocked_fd = -1;
static int something_came;

static void* receive(void* unused) {
  char any;
  (void)unused;
  ssize_t got = read(blocked_fd, &any, 1);
  __atomic_store_n(&something_came, 1, __ATOMIC_SEQ_CST);
  return (void*)got;
}

static short events_of(int fd) {
  struct pollfd state = {.fd = fd, .events = POLLIN | POLLRDHUP};
  CHECK(poll(&state, 1, 0) >= 0, "poll: %s", strerror(errno));
  return state.revents;
}

static void check_waits(int fd) {
  char any;
  CHECK(events_of(fd) == 0, "fd %d: poll says %#x", fd, events_of(fd));
  int flags = fcntl(fd, F_GETFL);
  MUST(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
  errno = 0;
  ssize_t got = read(fd, &any, 1);
  CHECK(got == -1 && errno == EAGAIN, "fd %d: read: %zd, %s", fd, got, strerror(errno));
  MUST(fcntl(fd, F_SETFL, flags));
}

static void check_ends(int fd) {
  char any;
  ssize_t got = read(fd, &any, 1);
  CHECK(got == 0, "fd %d: read: %zd, %s", fd, got, strerror(errno));
}

static int type_of(int fd) {
  int type = 0;
  socklen_t bytes = sizeof type;
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &bytes) == 0 ? type : 0;
}

static void check_takes(int fd) {
  static char block[10000];
  for (int i = 0; i < 1000; i++) {
    ssize_t got = write(fd, block, sizeof block);
    CHECK(got == sizeof block, "fd %d: write: %zd, %s", fd, got, strerror(errno));
    // A peer must not take it for the end.
    if (i == 0 && type_of(fd) == SOCK_SEQPACKET) MUST(send(fd, block, 0, 0));
  }
}

static void check_broken(int fd) {
  errno = 0;
  CHECK(write(fd, "x", 1) == -1 && errno == EPIPE, "fd %d: write: %s", fd, strerror(errno));
}

// A descriptor's number, and its words behind it.
static int parse(const char* argument, const char** words) {
  char* end;
  int fd = (int)strtol(argument, &end, 10);
  if (*end != ':') FAIL("usage: FD:WORD,WORD...");
  *words = end + 1;
  return fd;
}

static void check(const char* argument, int first_time) {
  const char* words;
  int fd = parse(argument, &words);
  int may_read = (fcntl(fd, F_GETFL) & O_ACCMODE) != O_WRONLY;
  if (strstr(words, "arrived") && first_time) expect_bytes(fd, "arrived");
  if (strstr(words, "waits") && may_read) check_waits(fd);
  if (strstr(words, "ends")) check_ends(fd);
  if (strstr(words, "takes")) check_takes(fd);
  if (strstr(words, "broken")) check_broken(fd);
}

int main(int argc, char** argv) {
  const char* words;
  signal(SIGPIPE, SIG_IGN);
  for (int i = 1; i < argc; i++) {
    int fd = parse(argv[i], &words);
    if (strstr(words, "blocked")) blocked_fd = fd;
  }
  if (blocked_fd >= 0) begin_helper(receive);
  ready();
  char line[20];
  for (int round = 0;; round++) {
    wait_line_into(line, sizeof line);
    if (!strncmp(line, "end", 3)) return pass();
    if (!strncmp(line, "close", 5)) break;
    for (int i = 1; i < argc; i++) check(argv[i], !strncmp(line, "first", 5));
    CHECK(!__atomic_load_n(&something_came, __ATOMIC_SEQ_CST), "the waiting thread got something");
    say("GOOD %d", round);
  }
  for (int i = 1; i < argc; i++)
    if (parse(argv[i], &words) != blocked_fd) MUST(close(parse(argv[i], &words)));
  say("CLOSED");
  wait_line();
  return pass();
}
