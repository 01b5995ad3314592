// What the programs about TCP and UDP sockets share: a listening socket, a client and a server.
#pragma once
#include "fd.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

SELFCHECK_UNUSED static int listening = -1, client = -1, server = -1;
static struct sockaddr_storage at;
static socklen_t at_bytes;
SELFCHECK_UNUSED static unsigned char data[300000], now[300001];

SELFCHECK_UNUSED static void loopback(int family) {
  struct sockaddr_in* four = (struct sockaddr_in*)&at;
  struct sockaddr_in6* six = (struct sockaddr_in6*)&at;
  memset(&at, 0, sizeof at);
  at.ss_family = (sa_family_t)family;
  if (family == AF_INET) four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (family == AF_INET6) six->sin6_addr = in6addr_loopback;
  at_bytes = family == AF_INET ? sizeof *four : sizeof *six;
}
SELFCHECK_UNUSED static void any(void) {
  ((struct sockaddr_in*)&at)->sin_addr.s_addr = htonl(INADDR_ANY);
}
SELFCHECK_UNUSED static void name_of(int fd) {
  at_bytes = sizeof at;
  MUST(getsockname(fd, (struct sockaddr*)&at, &at_bytes));
}
SELFCHECK_UNUSED static void listen_by(int family, int protocol, int backlog) {
  int on = 1;
  listening = socket(family, SOCK_STREAM, protocol);
  if (listening < 0) SKIP("no protocol %d: %s", protocol, strerror(errno));
  // As servers do: connections that were closed a moment ago keep the port otherwise.
  MUST(setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
  if (bind(listening, (struct sockaddr*)&at, at_bytes)) SKIP("no address of family %d", family);
  MUST(listen(listening, backlog));
  name_of(listening);
}
SELFCHECK_UNUSED static void listen_here(int family, int backlog) { listen_by(family, 0, backlog); }
SELFCHECK_UNUSED static int connect_by(int family, int protocol) {
  int fd = socket(family, SOCK_STREAM, protocol);
  MUST(fd);
  CHECK(!connect(fd, (struct sockaddr*)&at, at_bytes), "connect: %s", strerror(errno));
  return fd;
}
SELFCHECK_UNUSED static int connect_here(int family) { return connect_by(family, 0); }
SELFCHECK_UNUSED static void make_pair(int family) {
  loopback(family);
  listen_here(family, 5);
  client = connect_here(family);
  MUST(server = accept(listening, NULL, NULL));
}
SELFCHECK_UNUSED static void expect_same_name(int fd) {
  struct sockaddr_storage is = {0};
  socklen_t bytes = sizeof is;
  MUST(getsockname(fd, (struct sockaddr*)&is, &bytes));
  CHECK(bytes == at_bytes && !memcmp(&is, &at, bytes), "the port is %d, was %d",
        ntohs(((struct sockaddr_in*)&is)->sin_port), ntohs(((struct sockaddr_in*)&at)->sin_port));
}
SELFCHECK_UNUSED static void serve(int family) {
  int mine = connect_here(family), theirs = accept(listening, NULL, NULL);
  CHECK(theirs >= 0, "accept: %s", strerror(errno));
  put_bytes(mine, "served");
  expect_bytes(theirs, "served");
}
SELFCHECK_UNUSED static int option(int fd, int level, int which) {
  int value = -1;
  socklen_t bytes = sizeof value;
  MUST(getsockopt(fd, level, which, &value, &bytes));
  return value;
}
SELFCHECK_UNUSED static void set(int fd, int level, int which, int value) {
  MUST(setsockopt(fd, level, which, &value, sizeof value));
}
