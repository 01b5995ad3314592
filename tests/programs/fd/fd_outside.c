// Descriptors whose other end is in another process, which the restored program has lost.
//
// usage: fd_outside SUBJECT PLACE: a path or a port of somebody who serves there, or a process.
#include "fd.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

static int fd = -1;
static char now[100];

static void connect_tcp(const char* port) {
  struct sockaddr_in at = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)atoi(port)),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  MUST(fd = socket(AF_INET, SOCK_STREAM, 0));
  MUST(connect(fd, (struct sockaddr*)&at, sizeof at));
}
static void connect_local(const char* path) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  strncpy(at.sun_path, path, sizeof at.sun_path - 1);
  MUST(fd = socket(AF_UNIX, SOCK_STREAM, 0));
  MUST(connect(fd, (struct sockaddr*)&at, sizeof at));
}
static void arrives(void) {
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  CHECK(poll(&ready, 1, 10000) == 1, "set-up: nothing arrives");
}
static void* receive(void* unused) {
  (void)unused;
  ssize_t got = read(fd, now, sizeof now);
  return (void*)(long)(got < 0 ? -errno : got);
}
static int says_nothing(void) {
  struct pollfd state = {.fd = fd, .events = POLLIN | POLLRDHUP};
  CHECK(poll(&state, 1, 0) == 0, "poll says %#x", state.revents);
  for (int i = 0; i < 100000; i++)
    CHECK(write(fd, now, sizeof now) == sizeof now, "write: %s", strerror(errno));
  CHECK(poll(&state, 1, 0) == 0, "poll says %#x in the end", state.revents);
  return pass();
}

// A file of another process, and a pidfd. Whether it still runs is said by the line that comes.
static int watches(const char* pid) {
  char name[50], line[20];
  snprintf(name, sizeof name, "/proc/%s/comm", pid);
  MUST(fd = open(name, O_RDONLY));
  const int pidfd = (int)syscall(SYS_pidfd_open, atoi(pid), 0);
  MUST(pidfd);
  ready();
  wait_line_into(line, sizeof line);
  const ssize_t got = read(fd, now, sizeof now);
  if (!strcmp(line, "runs"))
    CHECK(got == 6 && !memcmp(now, "sleep\n", 6), "read: %zd, %s", got, strerror(errno));
  else
    CHECK(got == -1 && errno == ESRCH, "read: %zd, %s", got, strerror(errno));
  CHECK(readable(pidfd), "the pidfd is that of a process that runs");
  return pass();
}

int main(int argc, char** argv) {
  if (argc != 3) FAIL("usage: %s SUBJECT PLACE", argv[0]);
  const char* subject = argv[1];
  if (!strcmp(subject, "process")) return watches(argv[2]);
  int is_tcp = !strncmp(subject, "tcp", 3);
  if (is_tcp) connect_tcp(argv[2]);
  if (!strncmp(subject, "local", 5)) connect_local(argv[2]);
  int is_silent = strstr(subject, "silent") != NULL;
  int waits = strstr(subject, "blocked") != NULL, has_data = strstr(subject, "data") != NULL;
  if (has_data) {
    put_bytes(fd, "send me something");
    arrives();
  }
  if (waits) begin_helper(receive);
  ready();
  wait_line();
  if (waits) {
    long result = end_helper();
    CHECK(result == (is_tcp ? -ECONNRESET : 0), "the waiting thread got %ld", result);
    return pass();
  }
  if (has_data) expect_bytes(fd, "something");
  if (is_silent) return says_nothing();
  errno = 0;
  ssize_t got = read(fd, now, sizeof now);
  if (is_tcp) {
    CHECK(got == -1 && errno == ECONNRESET, "read: %zd, %s", got, strerror(errno));
    struct sockaddr_in peer;
    socklen_t bytes = sizeof peer;
    CHECK(getpeername(fd, (struct sockaddr*)&peer, &bytes) == -1 && errno == ENOTCONN,
          "getpeername");
  } else {
    CHECK(got == 0, "read: %zd, %s", got, strerror(errno));
  }
  CHECK(send(fd, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "send: %s", strerror(errno));
  return pass();
}
