// Netlink sockets: memberships, options, and connections between two of the program's own.
#include "fd.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

enum { WORDS = 4 };

static int one = -1, other = -1;

static int make(int protocol) {
  int fd = socket(AF_NETLINK, SOCK_RAW, protocol);
  MUST(fd);
  return fd;
}
static void set(int fd, int name, int value) {
  MUST(setsockopt(fd, SOL_NETLINK, name, &value, sizeof value));
}
static int option(int fd, int name) {
  int value = -1;
  socklen_t bytes = sizeof value;
  MUST(getsockopt(fd, SOL_NETLINK, name, &value, &bytes));
  return value;
}
static struct sockaddr_nl name_of(int fd) {
  struct sockaddr_nl name = {0};
  socklen_t bytes = sizeof name;
  MUST(getsockname(fd, (struct sockaddr*)&name, &bytes));
  return name;
}
static void bind_to(int fd, uint32_t port, uint32_t groups) {
  struct sockaddr_nl name = {.nl_family = AF_NETLINK, .nl_pid = port, .nl_groups = groups};
  MUST(bind(fd, (struct sockaddr*)&name, sizeof name));
}
static void expect_member(int fd, uint32_t first, uint32_t second) {
  uint32_t words[WORDS] = {0};
  socklen_t bytes = sizeof words;
  MUST(getsockopt(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, words, &bytes));
  CHECK(words[0] == first && words[1] == second, "a member of %x %x", words[0], words[1]);
}

// Groups above 32 have no bit in the name. One of the two has never been bound.
static void members(void) {
  one = make(NETLINK_ROUTE);
  bind_to(one, 0, 1U << (RTNLGRP_LINK - 1));
  set(one, NETLINK_ADD_MEMBERSHIP, 34);
  other = make(NETLINK_ROUTE);
  set(other, NETLINK_ADD_MEMBERSHIP, RTNLGRP_IPV6_IFADDR);
}
static void check_members(void) {
  expect_member(one, 1U << (RTNLGRP_LINK - 1), 2);
  CHECK(name_of(one).nl_pid != 0, "not bound");
  CHECK(name_of(one).nl_groups == 1U << (RTNLGRP_LINK - 1), "groups %x", name_of(one).nl_groups);
  expect_member(other, 1U << (RTNLGRP_IPV6_IFADDR - 1), 0);
  CHECK(name_of(other).nl_pid == 0, "bound to %u", name_of(other).nl_pid);
  bind_to(other, 0, 0);
}

static const int kFlags[] = {NETLINK_PKTINFO, NETLINK_BROADCAST_ERROR, NETLINK_NO_ENOBUFS,
                             NETLINK_CAP_ACK, NETLINK_EXT_ACK,         NETLINK_GET_STRICT_CHK};
static void options(void) {
  one = make(NETLINK_ROUTE);
  other = make(NETLINK_ROUTE);
  for (unsigned i = 0; i < sizeof kFlags / sizeof *kFlags; ++i)
    set(i % 2 ? one : other, kFlags[i], 1);
}
static void check_options(void) {
  for (unsigned i = 0; i < sizeof kFlags / sizeof *kFlags; ++i) {
    CHECK(option(one, kFlags[i]) == (int)(i % 2), "option %d", kFlags[i]);
    CHECK(option(other, kFlags[i]) == (int)(1 - i % 2), "option %d of the other", kFlags[i]);
  }
}

// Whoever may send by this protocol needs no privilege.
static void connected(void) {
  one = make(NETLINK_USERSOCK);
  bind_to(one, 0, 0);
  other = make(NETLINK_USERSOCK);
  struct sockaddr_nl to = name_of(one);
  MUST(connect(other, (struct sockaddr*)&to, sizeof to));
}
static void check_connected(void) {
  struct {
    struct nlmsghdr head;
    unsigned nonce;
  } sent = {{sizeof sent, 0x1234, 0, 1, 2}, seed()}, got = {{0}, 0};
  CHECK(send(other, &sent, sizeof sent, 0) == sizeof sent, "send: %s", strerror(errno));
  struct sockaddr_nl from = {0};
  socklen_t bytes = sizeof from;
  CHECK(
      recvfrom(one, &got, sizeof got, MSG_DONTWAIT, (struct sockaddr*)&from, &bytes) == sizeof got,
      "recv: %s", strerror(errno));
  CHECK(got.nonce == sent.nonce, "another message");
  CHECK(from.nl_pid == name_of(other).nl_pid, "from port %u", from.nl_pid);
}

int main(int argc, char** argv) {
  static const struct subject subjects[] = {{"members", members, check_members},
                                            {"options", options, check_options},
                                            {"connected", connected, check_connected},
                                            {NULL, NULL, NULL}};
  return run_subject(argc, argv, subjects);
}
