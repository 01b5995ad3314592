// Sockets with an error that the program has not read yet, or whose connection is over.
#include "fd.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static int client = -1, server = -1, listening = -1;
static struct sockaddr_in at;
static socklen_t at_bytes = sizeof at;

static void await(int fd, short events) {
  struct pollfd state = {.fd = fd, .events = events};
  CHECK(poll(&state, 1, 10000) == 1, "set-up: nothing comes");
}
static int unread_error(int fd) {
  struct pollfd state = {.fd = fd};
  return poll(&state, 1, 0) == 1 && (state.revents & POLLERR) != 0;
}
static void expect_error(int fd, int error) {
  char byte;
  CHECK(unread_error(fd), "no error waits");
  CHECK(recv(fd, &byte, 1, MSG_DONTWAIT) == -1 && errno == error, "recv: %s, not %s",
        strerror(errno), strerror(error));
}
// What a connection says that is over and has told it.
static void expect_end(int fd) {
  char byte;
  struct pollfd state = {.fd = fd, .events = POLLIN | POLLRDHUP};
  CHECK(!unread_error(fd), "an error waits");
  CHECK(poll(&state, 1, 0) == 1 && state.revents == (POLLIN | POLLRDHUP | POLLHUP), "events %x",
        (unsigned)state.revents);
  CHECK(recv(fd, &byte, 1, MSG_DONTWAIT) == 0, "recv: %s", strerror(errno));
  CHECK(send(fd, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "send: %s", strerror(errno));
}

static void connect_pair(void) {
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  MUST(listening = socket(AF_INET, SOCK_STREAM, 0));
  MUST(bind(listening, (struct sockaddr*)&at, sizeof at));
  MUST(listen(listening, 1));
  MUST(getsockname(listening, (struct sockaddr*)&at, &at_bytes));
  MUST(client = socket(AF_INET, SOCK_STREAM, 0));
  MUST(connect(client, (struct sockaddr*)&at, sizeof at));
  MUST(server = accept(listening, NULL, NULL));
}
static void reset_by(int fd) {
  const struct linger at_once = {1, 0};
  MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
  MUST(close(fd));
}

static void reset(void) {
  connect_pair();
  reset_by(client);
  await(server, POLLIN);
}
static void check_reset(void) {
  expect_error(server, ECONNRESET);
  expect_end(server);
}
static void reset_with_data(void) {
  connect_pair();
  put_bytes(client, "the last words");
  await(server, POLLIN);
  reset_by(client);
  await(server, 0);
}
static void check_reset_with_data(void) {
  expect_bytes(server, "the last words");
  check_reset();
}
// The error has been read, and what came before it has not.
static void told(void) {
  int error;
  socklen_t bytes = sizeof error;
  reset_with_data();
  MUST(getsockopt(server, SOL_SOCKET, SO_ERROR, &error, &bytes));
  CHECK(error == ECONNRESET, "set-up: %s", strerror(error));
}
static void check_told(void) {
  expect_bytes(server, "the last words");
  expect_end(server);
}
static void refused(void) {
  connect_pair();
  MUST(close(listening));
  MUST(close(server));
  MUST(close(client));
  MUST(client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  CHECK(connect(client, (struct sockaddr*)&at, sizeof at) == -1 && errno == EINPROGRESS,
        "set-up: connect: %s", strerror(errno));
  await(client, POLLOUT);
}
static void check_refused(void) {
  CHECK(fcntl(client, F_GETFL) == (O_RDWR | O_NONBLOCK), "flags");
  expect_error(client, ECONNREFUSED);
  expect_end(client);
}
static void finished(void) {
  connect_pair();
  MUST(shutdown(client, SHUT_WR));
  await(server, POLLRDHUP);
  MUST(close(server));
  await(client, 0);
}
static void check_finished(void) { expect_end(client); }
static void local_reset(void) {
  int ends[2];
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  put_bytes(ends[0], "never read");
  put_bytes(ends[1], "an answer");
  MUST(close(ends[1]));
  client = ends[0];
}
static void check_local_reset(void) {
  expect_bytes(client, "an answer");
  expect_error(client, ECONNRESET);
}
// A shutdown(2) of what has no connection fails, and does it.
static void shut_without(void) {
  MUST(client = socket(AF_INET, SOCK_STREAM, 0));
  CHECK(shutdown(client, SHUT_RD) == -1 && errno == ENOTCONN, "set-up: shutdown");
}
static void check_shut_without(void) {
  char byte;
  CHECK(recv(client, &byte, 1, MSG_DONTWAIT) == 0, "recv: %s", strerror(errno));
}

// A datagram that nobody took: the next call is told, and what has come meanwhile waits behind.
static void udp_refused(void) {
  struct sockaddr_in there;
  socklen_t bytes = sizeof there;
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  MUST(server = socket(AF_INET, SOCK_DGRAM, 0));
  MUST(bind(server, (struct sockaddr*)&at, sizeof at));
  MUST(getsockname(server, (struct sockaddr*)&there, &bytes));
  MUST(client = socket(AF_INET, SOCK_DGRAM, 0));
  MUST(connect(client, (struct sockaddr*)&there, sizeof there));
  put_bytes(client, "x");
  bytes = sizeof at;
  MUST(getsockname(client, (struct sockaddr*)&at, &bytes));
  MUST(sendto(server, "behind", 6, 0, (struct sockaddr*)&at, sizeof at));
  MUST(close(server));
  put_bytes(client, "x");
  await(client, 0);
}
static void check_udp_refused(void) {
  if (strcmp(subject_line, "restored") == 0) {
    expect_nothing(client);
    return;
  }
  expect_error(client, ECONNREFUSED);
  expect_bytes(client, "behind");
}

int main(int argc, char** argv) {
  static const struct subject subjects[] = {
      {"reset", reset, check_reset},
      {"reset_with_data", reset_with_data, check_reset_with_data},
      {"told", told, check_told},
      {"refused", refused, check_refused},
      {"finished", finished, check_finished},
      {"local_reset", local_reset, check_local_reset},
      {"shut_without", shut_without, check_shut_without},
      {"udp_refused", udp_refused, check_udp_refused},
      {NULL, NULL, NULL}};
  return run_subject(argc, argv, subjects);
}
