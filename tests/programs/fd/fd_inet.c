// TCP and UDP sockets with both ends, or their listening side, in the program.
#include "inet.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>

static void listening_tcp(void) {
  loopback(AF_INET);
  listen_here(AF_INET, 7);
}
static void check_listening_tcp(void) {
  struct tcp_info info;
  socklen_t bytes = sizeof info;
  expect_same_name(listening);
  MUST(getsockopt(listening, IPPROTO_TCP, TCP_INFO, &info, &bytes));
  CHECK(info.tcpi_sacked == 7, "the backlog is %u", info.tcpi_sacked);
  CHECK(option(listening, SOL_SOCKET, SO_REUSEADDR) == 1, "SO_REUSEADDR");
  serve(AF_INET);
}
static void listening_options(void) {
  loopback(AF_INET);
  MUST(listening = socket(AF_INET, SOCK_STREAM, 0));
  set(listening, SOL_SOCKET, SO_REUSEADDR, 1);
  set(listening, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(listening, IPPROTO_TCP, TCP_NODELAY, 1);
  set(listening, IPPROTO_TCP, TCP_KEEPIDLE, 77);
  set(listening, IPPROTO_TCP, TCP_MAXSEG, 800);
  set(listening, IPPROTO_TCP, TCP_WINDOW_CLAMP, 20000);
  set(listening, IPPROTO_IP, 26, 1);  // IP_RECVERR_RFC4884
  set(listening, IPPROTO_IP, IP_TOS, 0x10);
  set(listening, SOL_SOCKET, SO_RCVBUF, 40000);
  MUST(bind(listening, (struct sockaddr*)&at, at_bytes));
  MUST(listen(listening, 3));
  name_of(listening);
}
static void check_listening_options(void) {
  expect_same_name(listening);
  CHECK(option(listening, SOL_SOCKET, SO_REUSEADDR) == 1, "SO_REUSEADDR");
  CHECK(option(listening, SOL_SOCKET, SO_KEEPALIVE) == 1, "SO_KEEPALIVE");
  CHECK(option(listening, IPPROTO_TCP, TCP_NODELAY) == 1, "TCP_NODELAY");
  CHECK(option(listening, IPPROTO_TCP, TCP_KEEPIDLE) == 77, "TCP_KEEPIDLE");
  CHECK(option(listening, IPPROTO_TCP, TCP_MAXSEG) == 800, "TCP_MAXSEG");
  CHECK(option(listening, IPPROTO_TCP, TCP_WINDOW_CLAMP) == 20000, "TCP_WINDOW_CLAMP");
  CHECK(option(listening, IPPROTO_IP, 26) == 1, "IP_RECVERR_RFC4884");
  CHECK(option(listening, IPPROTO_IP, IP_TOS) == 0x10, "IP_TOS");
  CHECK(option(listening, SOL_SOCKET, SO_RCVBUF) == 80000, "SO_RCVBUF");
  serve(AF_INET);
}
static void listening_tcp6(void) {
  loopback(AF_INET6);
  listen_here(AF_INET6, 5);
}
static void check_listening_tcp6(void) {
  expect_same_name(listening);
  serve(AF_INET6);
}
static void listening_everywhere(void) {
  loopback(AF_INET);
  any();
  listen_here(AF_INET, 5);
}
static void check_listening_everywhere(void) {
  expect_same_name(listening);
  serve(AF_INET);
}
// As Go's servers have listened since 1.24; clients of TCP are served by TCP.
static void multipath(void) {
  loopback(AF_INET);
  listen_by(AF_INET, IPPROTO_MPTCP, 7);
  set(listening, IPPROTO_TCP, TCP_NODELAY, 1);
}
static void check_multipath(void) {
  CHECK(option(listening, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_MPTCP, "the protocol");
  CHECK(option(listening, IPPROTO_TCP, TCP_NODELAY) == 1, "TCP_NODELAY");
  check_listening_tcp();
}
static void multipath_served(void) {
  multipath();
  client = connect_here(AF_INET);
  MUST(server = accept(listening, NULL, NULL));
  put_bytes(client, "request");
  put_bytes(server, "an answer");
}
static void multipath_connection(void) {
  multipath();
  client = connect_by(AF_INET, IPPROTO_MPTCP);
  MUST(server = accept(listening, NULL, NULL));
  put_bytes(client, "request");
  put_bytes(server, "an answer");
}
static void multipath_half_closed(void) {
  multipath_connection();
  MUST(shutdown(client, SHUT_WR));
}
static void connection(void) {
  make_pair(AF_INET);
  put_bytes(client, "request");
  put_bytes(server, "an answer");
  set(client, IPPROTO_TCP, TCP_NODELAY, 1);
}
static void check_pair(int family) {
  struct sockaddr_storage mine, theirs;
  socklen_t bytes = sizeof mine;
  expect_same_name(server);
  MUST(getsockname(client, (struct sockaddr*)&mine, &bytes));
  bytes = sizeof theirs;
  MUST(getpeername(server, (struct sockaddr*)&theirs, &bytes));
  CHECK(!memcmp(&mine, &theirs, bytes), "the ends do not name each other");
  expect_bytes(server, "request");
  expect_bytes(client, "an answer");
  expect_nothing(server);
  put_bytes(client, "more");
  expect_bytes(server, "more");
  serve(family);
  MUST(close(client));
  CHECK(read(server, now, 1) == 0, "the end is not seen");
}
static void check_multipath_connection(void) {
  CHECK(option(client, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_MPTCP, "the client's protocol");
  CHECK(option(server, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_MPTCP, "the server's protocol");
  expect_bytes(server, "request");
  expect_bytes(client, "an answer");
  put_bytes(client, "again");
  expect_bytes(server, "again");
}
static void check_multipath_half_closed(void) {
  expect_bytes(server, "request");
  CHECK(read(server, now, 1) == 0, "no end of file");
  expect_bytes(client, "an answer");
  put_bytes(server, "go on");
  expect_bytes(client, "go on");
  CHECK(send(client, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "send: %s", strerror(errno));
}
static void check_connection(void) {
  CHECK(option(client, IPPROTO_TCP, TCP_NODELAY) == 1, "TCP_NODELAY");
  CHECK(option(server, IPPROTO_TCP, TCP_NODELAY) == 0, "TCP_NODELAY of the other end");
  check_pair(AF_INET);
}
static void check_multipath_served(void) { check_pair(AF_INET); }
// A byte out of the stream's order, and the place in it where receiving stops once.
static void send_urgent(void) {
  const int none = -1;
  make_pair(AF_INET);
  if (setsockopt(server, SOL_SOCKET, SO_PEEK_OFF, &none, sizeof none))
    SKIP("no SO_PEEK_OFF for TCP (Linux 6.9): %s", strerror(errno));
  put_bytes(client, "before");
  CHECK(send(client, "!", 1, MSG_OOB) == 1, "set-up: send: %s", strerror(errno));
  put_bytes(client, "behind it");
  struct pollfd state = {.fd = server, .events = POLLPRI};
  CHECK(poll(&state, 1, 10000) == 1, "set-up: nothing urgent");
}
static char urgent_byte(void) {
  char byte = 0;
  CHECK(recv(server, &byte, 1, MSG_OOB | MSG_DONTWAIT) == 1, "MSG_OOB: %s", strerror(errno));
  return byte;
}
static int at_mark(void) {
  int at = -1;
  MUST(ioctl(server, SIOCATMARK, &at));
  return at;
}
static void check_urgent(void) {
  CHECK(urgent_byte() == '!', "another byte");
  expect_bytes(server, "before");
  CHECK(at_mark() == 1, "there is no mark");
  expect_bytes(server, "behind it");
  expect_nothing(server);
}
static void urgent_taken(void) {
  send_urgent();
  urgent_byte();
}
static void check_urgent_taken(void) {
  struct pollfd state = {.fd = server, .events = POLLPRI};
  CHECK(poll(&state, 1, 0) == 0, "something urgent");
  expect_bytes(server, "before");
  CHECK(at_mark() == 1, "there is no mark");
  expect_bytes(server, "behind it");
  expect_nothing(server);
}
static void urgent_at_once(void) {
  send_urgent();
  expect_bytes(server, "before");
}
static void check_urgent_at_once(void) {
  CHECK(at_mark() == 1 && urgent_byte() == '!', "the mark");
  expect_bytes(server, "behind it");
}
static void urgent_inline(void) {
  send_urgent();
  set(server, SOL_SOCKET, SO_OOBINLINE, 1);
}
static void check_urgent_inline(void) {
  expect_bytes(server, "before");
  CHECK(at_mark() == 1, "there is no mark");
  expect_bytes(server, "!behind it");
  expect_nothing(server);
}
static void connection6(void) {
  make_pair(AF_INET6);
  put_bytes(client, "request");
  put_bytes(server, "an answer");
}
static void check_connection6(void) { check_pair(AF_INET6); }
static void large_connection(void) {
  make_pair(AF_INET);
  fill(data, sizeof data, seed());
  set(client, SOL_SOCKET, SO_SNDBUF, 1 << 20);
  CHECK(write(client, data, 100000) == 100000, "set-up: write");
}
static void check_large_connection(void) {
  size_t got = 0;
  while (got < 100000) {
    ssize_t n = read(server, now + got, sizeof now - got);
    CHECK(n > 0, "read: %zd after %zu bytes", n, got);
    got += (size_t)n;
  }
  CHECK(got == 100000 && !memcmp(now, data, got), "content");
}
static void without_listening(void) {
  make_pair(AF_INET);
  MUST(close(listening));
  put_bytes(server, "hello");
}
static void check_without_listening(void) {
  expect_same_name(server);
  expect_bytes(client, "hello");
  put_bytes(client, "back");
  expect_bytes(server, "back");
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect(fd, (struct sockaddr*)&at, at_bytes) == -1 && errno == ECONNREFUSED,
        "somebody listens");
}
static void half_closed(void) {
  make_pair(AF_INET);
  put_bytes(client, "last words");
  MUST(shutdown(client, SHUT_WR));
  // The end is on its way through the kernel.
  struct pollfd ready = {.fd = server, .events = POLLRDHUP};
  MUST(poll(&ready, 1, -1));
}
static void check_half_closed(void) {
  expect_bytes(server, "last words");
  CHECK(read(server, now, 1) == 0, "the end is not seen");
  put_bytes(server, "answer");
  expect_bytes(client, "answer");
  CHECK(send(client, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "it can send again");
}
static void shut_receiving(void) {
  make_pair(AF_INET);
  put_bytes(server, "before");
  struct pollfd ready = {.fd = client, .events = POLLIN};
  MUST(poll(&ready, 1, -1));
  MUST(shutdown(client, SHUT_RD));
}
static void check_shut_receiving(void) {
  expect_bytes(client, "before");
  ssize_t got = recv(client, now, 1, MSG_DONTWAIT);
  CHECK(got == 0, "recv: %zd, %s", got, strerror(errno));
  put_bytes(client, "answer");
  expect_bytes(server, "answer");
}
static void waiting(void) {
  loopback(AF_INET);
  listen_here(AF_INET, 5);
  client = connect_here(AF_INET);
}
static void check_waiting(void) {
  CHECK(readable(listening), "nobody waits to be accepted");
  MUST(server = accept(listening, NULL, NULL));
  put_bytes(client, "at last");
  expect_bytes(server, "at last");
}
static void corked(void) {
  make_pair(AF_INET);
  set(client, IPPROTO_TCP, TCP_CORK, 1);
}
static void check_corked(void) {
  CHECK(option(client, IPPROTO_TCP, TCP_CORK) == 1, "TCP_CORK");
  put_bytes(client, "corked");
  set(client, IPPROTO_TCP, TCP_CORK, 0);
  expect_bytes(server, "corked");
}
static void bind_udp(void) {
  loopback(AF_INET);
  MUST(server = socket(AF_INET, SOCK_DGRAM, 0));
  MUST(bind(server, (struct sockaddr*)&at, at_bytes));
  name_of(server);
}
static void udp(void) {
  bind_udp();
  MUST(client = socket(AF_INET, SOCK_DGRAM, 0));
  MUST(connect(client, (struct sockaddr*)&at, at_bytes));
  put_bytes(client, "one");
  put_bytes(client, "two two");
}
static void check_udp(void) {
  struct sockaddr_in from, mine;
  socklen_t bytes = sizeof from;
  expect_same_name(server);
  CHECK(recvfrom(server, now, sizeof now, 0, (struct sockaddr*)&from, &bytes) == 3, "datagram 1");
  bytes = sizeof mine;
  MUST(getsockname(client, (struct sockaddr*)&mine, &bytes));
  CHECK(from.sin_port == mine.sin_port, "the sender's port");
  expect_bytes(server, "two two");
  expect_nothing(server);
  put_bytes(client, "three");
  expect_bytes(server, "three");
}
// What setsockopt has changed, as getsockopt tells it. Some may not be had here: it is as it was
// then.
static const struct {
  int domain, level, name, value;
  const char* text;
} udp_set[] = {
#define OPTION(domain, level, name, value) \
  { domain, level, name, value, #name }
    OPTION(AF_INET, SOL_SOCKET, SO_BROADCAST, 1),
    OPTION(AF_INET, SOL_SOCKET, SO_NO_CHECK, 1),
    OPTION(AF_INET, SOL_SOCKET, SO_RCVBUF, 50000),
    OPTION(AF_INET, SOL_SOCKET, SO_RXQ_OVFL, 1),
    OPTION(AF_INET, SOL_SOCKET, SO_TIMESTAMPING, 0x10),
    OPTION(AF_INET, IPPROTO_IP, IP_TOS, 0x10),
    OPTION(AF_INET, SOL_SOCKET, SO_PRIORITY, 5),
    OPTION(AF_INET, IPPROTO_IP, IP_TTL, 9),
    OPTION(AF_INET, IPPROTO_IP, IP_MINTTL, 3),
    OPTION(AF_INET, IPPROTO_IP, IP_PKTINFO, 1),
    OPTION(AF_INET, IPPROTO_IP, IP_RECVORIGDSTADDR, 1),
    OPTION(AF_INET, IPPROTO_IP, IP_RECVOPTS, 1),
    OPTION(AF_INET, IPPROTO_IP, IP_MULTICAST_ALL, 0),
    OPTION(AF_INET, IPPROTO_IP, IP_MULTICAST_TTL, 4),
    OPTION(AF_INET, IPPROTO_IP, IP_UNICAST_IF, 0x01000000),
    OPTION(AF_INET, IPPROTO_UDP, UDP_SEGMENT, 500),
    OPTION(AF_INET, IPPROTO_UDP, UDP_GRO, 1),
    OPTION(AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY, 1),
    OPTION(AF_INET6, IPPROTO_IPV6, IPV6_DONTFRAG, 1),
    OPTION(AF_INET6, IPPROTO_IPV6, IPV6_MTU_DISCOVER, 2),
    OPTION(AF_INET6, IPPROTO_IPV6, IPV6_RECVPATHMTU, 1),
    OPTION(AF_INET6, IPPROTO_IPV6, IPV6_TCLASS, 8),
#undef OPTION
};
enum { UDP_SET = sizeof udp_set / sizeof *udp_set };
static int udp_had[UDP_SET], udp6 = -1;
static int udp_of(int i) { return udp_set[i].domain == AF_INET ? client : udp6; }
static void udp_options(void) {
  MUST(client = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
  udp6 = socket(AF_INET6, SOCK_DGRAM, 0);
  for (int i = 0; i < UDP_SET; i++)
    if (udp_of(i) >= 0)
      setsockopt(udp_of(i), udp_set[i].level, udp_set[i].name, &udp_set[i].value, sizeof(int));
  int set = 0;
  for (int i = 0; i < UDP_SET; i++) {
    if (udp_of(i) < 0) continue;
    udp_had[i] = option(udp_of(i), udp_set[i].level, udp_set[i].name);
    set += udp_had[i] == udp_set[i].value;
  }
  CHECK(set > 12, "set-up: %d of %d options", set, UDP_SET);
}
static void check_udp_options(void) {
  for (int i = 0; i < UDP_SET; i++) {
    if (udp_of(i) < 0) continue;
    const int has = option(udp_of(i), udp_set[i].level, udp_set[i].name);
    CHECK(has == udp_had[i], "%s is %d, not %d", udp_set[i].text, has, udp_had[i]);
  }
  CHECK(recv(client, now, 1, 0) == -1 && errno == EAGAIN, "O_NONBLOCK");
}
static void on_device(void) {
  MUST(client = socket(AF_INET, SOCK_DGRAM, 0));
  MUST(setsockopt(client, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3));
}
static void check_on_device(void) {
  char name[16] = "";
  socklen_t bytes = sizeof name;
  MUST(getsockopt(client, SOL_SOCKET, SO_BINDTODEVICE, name, &bytes));
  CHECK(!strcmp(name, "lo"), "bound to \"%s\"", name);
}
// Only datagrams that begin with "a" pass.
static void filter(void) {
  struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 8),
                               BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'a', 0, 1),
                               BPF_STMT(BPF_RET | BPF_K, 0xffff), BPF_STMT(BPF_RET | BPF_K, 0)};
  struct sock_fprog program = {4, code};
  bind_udp();
  MUST(setsockopt(server, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
}
static void check_filter(void) {
  name_of(server);  // beside the original it has another
  MUST(client = socket(AF_INET, SOCK_DGRAM, 0));
  MUST(connect(client, (struct sockaddr*)&at, at_bytes));
  put_bytes(client, "bad");
  put_bytes(client, "all right");
  expect_bytes(server, "all right");
  expect_nothing(server);
}
static struct ip_mreqn group;
static void multicast(void) {
  group.imr_multiaddr.s_addr = htonl(0xef010203);
  group.imr_ifindex = 1;  // lo
  loopback(AF_INET);
  ((struct sockaddr_in*)&at)->sin_addr.s_addr = 0;
  MUST(server = socket(AF_INET, SOCK_DGRAM, 0));
  MUST(setsockopt(server, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group));
  MUST(bind(server, (struct sockaddr*)&at, at_bytes));
  name_of(server);
}
static void check_multicast(void) {
  name_of(server);
  MUST(client = socket(AF_INET, SOCK_DGRAM, 0));
  MUST(setsockopt(client, IPPROTO_IP, IP_MULTICAST_IF, &group, sizeof group));
  ((struct sockaddr_in*)&at)->sin_addr = group.imr_multiaddr;
  MUST(sendto(client, "to all", 6, 0, (struct sockaddr*)&at, at_bytes));
  struct pollfd ready = {.fd = server, .events = POLLIN};
  CHECK(poll(&ready, 1, 5000) == 1, "nothing arrives");
  expect_bytes(server, "to all");
  CHECK(setsockopt(server, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group) == -1 &&
            errno == EADDRINUSE,
        "it is no member");
}
static void udp_shut(void) {
  bind_udp();
  MUST(client = socket(AF_INET, SOCK_DGRAM, 0));
  MUST(connect(client, (struct sockaddr*)&at, at_bytes));
  MUST(shutdown(client, SHUT_RDWR));
}
static void check_udp_shut(void) {
  CHECK(recv(client, now, 1, 0) == 0, "recv: %s", strerror(errno));
  CHECK(send(client, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "send: %s", strerror(errno));
}
static void udp_shut_for_sending(void) {
  bind_udp();
  MUST(client = socket(AF_INET, SOCK_DGRAM, 0));
  MUST(connect(client, (struct sockaddr*)&at, at_bytes));
  MUST(shutdown(client, SHUT_WR));
}
static void check_udp_shut_for_sending(void) {
  CHECK(send(client, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "send: %s", strerror(errno));
  name_of(client);
  CHECK(sendto(server, "in", 2, 0, (struct sockaddr*)&at, at_bytes) == 2, "send to it: %s",
        strerror(errno));
  CHECK(recv(client, now, 9, MSG_DONTWAIT) == 2, "recv: %s", strerror(errno));
}
// One that has the sender's address, and one that has its port everywhere.
static struct sockaddr_in gone, here;
static void udp_closed_sender(void) {
  bind_udp();
  struct sockaddr_in to,
      sender = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t bytes = sizeof gone;
  memcpy(&to, &at, sizeof to);
  MUST(client = socket(AF_INET, SOCK_DGRAM, 0));
  MUST(bind(client, (struct sockaddr*)&sender, sizeof sender));
  MUST(getsockname(client, (struct sockaddr*)&gone, &bytes));
  MUST(sendto(client, "gone", 4, 0, (struct sockaddr*)&to, sizeof to));
  MUST(close(client));
  sender.sin_addr.s_addr = htonl(INADDR_ANY);
  MUST(client = socket(AF_INET, SOCK_DGRAM, 0));
  MUST(bind(client, (struct sockaddr*)&sender, sizeof sender));
  MUST(getsockname(client, (struct sockaddr*)&here, &bytes));
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  MUST(sendto(client, "here", 4, 0, (struct sockaddr*)&to, sizeof to));
}
static void expect_from(const struct sockaddr_in* sender) {
  struct sockaddr_in from;
  socklen_t bytes = sizeof from;
  CHECK(recvfrom(server, now, 9, MSG_DONTWAIT, (struct sockaddr*)&from, &bytes) == 4,
        "recvfrom: %s", strerror(errno));
  CHECK(from.sin_addr.s_addr == sender->sin_addr.s_addr && from.sin_port == sender->sin_port,
        "it came from port %d", ntohs(from.sin_port));
}
static void check_udp_closed_sender(void) {
  expect_same_name(server);
  expect_from(&gone);
  expect_from(&here);
  expect_nothing(server);
  listening = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(!bind(listening, (struct sockaddr*)&gone, sizeof gone), "it is not free: %s",
        strerror(errno));
}
static void udp_unbound(void) { MUST(client = socket(AF_INET, SOCK_DGRAM, 0)); }
static void check_udp_unbound(void) {
  loopback(AF_INET);
  CHECK(!bind(client, (struct sockaddr*)&at, at_bytes), "bind: %s", strerror(errno));
}
static void unbound(void) { MUST(client = socket(AF_INET, SOCK_STREAM, 0)); }
static void check_unbound(void) {
  CHECK(read(client, now, 1) == -1 && errno == ENOTCONN, "read: %s", strerror(errno));
  loopback(AF_INET);
  listen_here(AF_INET, 1);
  CHECK(!connect(client, (struct sockaddr*)&at, at_bytes), "connect: %s", strerror(errno));
}
static void bound(void) {
  loopback(AF_INET);
  MUST(client = socket(AF_INET, SOCK_STREAM, 0));
  MUST(bind(client, (struct sockaddr*)&at, at_bytes));
  name_of(client);
}
static void check_bound(void) {
  expect_same_name(client);
  CHECK(option(client, SOL_SOCKET, SO_REUSEADDR) == 0, "SO_REUSEADDR");
  MUST(listen(client, 1));
}
static void* accept_one(void* unused) {
  (void)unused;
  CHECK(accept(listening, NULL, NULL) >= 0, "accept: %s", strerror(errno));
  return (void*)1;
}
static void blocked_accept(void) {
  listening_tcp();
  begin_helper(accept_one);
}
static void check_blocked_accept(void) {
  connect_here(AF_INET);
  CHECK(end_helper() == 1, "the waiting thread");
}
static void* receive(void* unused) {
  (void)unused;
  CHECK(recv(server, now, sizeof now, 0) == 7, "recv: %s", strerror(errno));
  return (void*)1;
}
static void blocked_receive(void) {
  make_pair(AF_INET);
  begin_helper(receive);
}
static void check_blocked_receive(void) {
  put_bytes(client, "wake up");
  CHECK(end_helper() == 1, "the waiting thread");
}

int main(int argc, char** argv) {
  static const struct subject subjects[] = {
      {"listening", listening_tcp, check_listening_tcp},
      {"listening_options", listening_options, check_listening_options},
      {"listening_ipv6", listening_tcp6, check_listening_tcp6},
      {"listening_everywhere", listening_everywhere, check_listening_everywhere},
      {"multipath", multipath, check_multipath},
      {"multipath_served", multipath_served, check_multipath_served},
      {"multipath_connection", multipath_connection, check_multipath_connection},
      {"multipath_half_closed", multipath_half_closed, check_multipath_half_closed},
      {"connection", connection, check_connection},
      {"urgent", send_urgent, check_urgent},
      {"urgent_taken", urgent_taken, check_urgent_taken},
      {"urgent_at_once", urgent_at_once, check_urgent_at_once},
      {"urgent_inline", urgent_inline, check_urgent_inline},
      {"connection_ipv6", connection6, check_connection6},
      {"large_connection", large_connection, check_large_connection},
      {"without_listening", without_listening, check_without_listening},
      {"half_closed", half_closed, check_half_closed},
      {"shut_receiving", shut_receiving, check_shut_receiving},
      {"waiting", waiting, check_waiting},
      {"corked", corked, check_corked},
      {"udp", udp, check_udp},
      {"udp_options", udp_options, check_udp_options},
      {"on_device", on_device, check_on_device},
      {"filter", filter, check_filter},
      {"multicast", multicast, check_multicast},
      {"udp_shut", udp_shut, check_udp_shut},
      {"udp_shut_for_sending", udp_shut_for_sending, check_udp_shut_for_sending},
      {"udp_closed_sender", udp_closed_sender, check_udp_closed_sender},
      {"udp_unbound", udp_unbound, check_udp_unbound},
      {"unbound", unbound, check_unbound},
      {"bound", bound, check_bound},
      {"blocked_accept", blocked_accept, check_blocked_accept},
      {"blocked_receive", blocked_receive, check_blocked_receive},
      {NULL, NULL, NULL}};
  return run_subject(argc, argv, subjects);
}
