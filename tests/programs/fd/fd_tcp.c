// TCP connections whose ends are of two families or are one socket, or that have not delivered all
// yet.
#include "inet.h"

#include <arpa/inet.h>

static struct sockaddr_storage server_was, peer_was;
static socklen_t was_bytes;

// ---- IPv4 at one end, IPv6 at the other
static void any6(void) {
  loopback(AF_INET6);
  ((struct sockaddr_in6*)&at)->sin6_addr = in6addr_any;
}
// The same port as the one that `at` has, on this machine.
static void go_to(int family) {
  const in_port_t port = ((struct sockaddr_in*)&at)->sin_port;
  loopback(family);
  ((struct sockaddr_in*)&at)->sin_port = port;
}
static void go_to_mapped(void) {
  go_to(AF_INET6);
  struct in6_addr mapped = {.s6_addr = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}};
  ((struct sockaddr_in6*)&at)->sin6_addr = mapped;
}
static void listen_for_both(void) {
  any6();
  listen_here(AF_INET6, 5);
  go_to(AF_INET);
}
static void note_names(void) {
  was_bytes = sizeof server_was;
  MUST(getsockname(server, (struct sockaddr*)&server_was, &was_bytes));
  was_bytes = sizeof peer_was;
  MUST(getpeername(server, (struct sockaddr*)&peer_was, &was_bytes));
}
static void connect_mapped(void) {
  listen_for_both();
  client = connect_here(AF_INET);
  MUST(server = accept(listening, NULL, NULL));
  note_names();
}
static void expect_names(void) {
  struct sockaddr_storage is = {0};
  struct sockaddr_in mine;
  socklen_t bytes = sizeof is;
  MUST(getsockname(server, (struct sockaddr*)&is, &bytes));
  CHECK(bytes == was_bytes && !memcmp(&is, &server_was, bytes), "the server's name");
  bytes = sizeof is;
  MUST(getpeername(server, (struct sockaddr*)&is, &bytes));
  bytes = sizeof mine;
  MUST(getsockname(client, (struct sockaddr*)&mine, &bytes));
  CHECK(((struct sockaddr_in*)&is)->sin_port == mine.sin_port, "the ends do not name each other");
  ((struct sockaddr_in*)&is)->sin_port = ((struct sockaddr_in*)&peer_was)->sin_port;
  CHECK(!memcmp(&is, &peer_was, was_bytes), "the peer's address");
}
static void mapped(void) {
  connect_mapped();
  put_bytes(client, "request");
  put_bytes(server, "an answer");
}
static void expect_both_ways(void) {
  expect_bytes(server, "request");
  expect_bytes(client, "an answer");
  put_bytes(client, "more");
  expect_bytes(server, "more");
}
static void check_mapped(void) {
  expect_names();
  expect_both_ways();
  serve(AF_INET);
  go_to(AF_INET6);
  serve(AF_INET6);
}
static void mapped_alone(void) {
  mapped();
  MUST(close(listening));
}
static void check_mapped_alone(void) {
  expect_names();
  expect_both_ways();
}
static void mapped_half_closed(void) {
  mapped();
  MUST(shutdown(client, SHUT_WR));
}
static void check_mapped_half_closed(void) {
  expect_names();
  expect_bytes(server, "request");
  CHECK(read(server, now, 1) == 0, "the end is not seen");
  expect_bytes(client, "an answer");
  put_bytes(server, "go on");
  expect_bytes(client, "go on");
}
static void mapped_waiting(void) {
  listen_for_both();
  client = connect_here(AF_INET);
  go_to_mapped();
  server = connect_here(AF_INET6);
}
static void check_mapped_waiting(void) {
  for (int i = 0; i < 2; i++) {
    CHECK(readable(listening), "nobody waits to be accepted");
    int mine = i == 0 ? client : server, theirs = accept(listening, NULL, NULL);
    put_bytes(mine, "at last");
    expect_bytes(theirs, "at last");
  }
}
// The client is of IPv6, the server is not.
static void mapped_client(void) {
  loopback(AF_INET);
  listen_here(AF_INET, 5);
  go_to_mapped();
  client = connect_here(AF_INET6);
  MUST(server = accept(listening, NULL, NULL));
  note_names();
  put_bytes(client, "request");
  put_bytes(server, "an answer");
}
static void check_mapped_client(void) {
  expect_names();
  expect_both_ways();
  serve(AF_INET6);
  go_to(AF_INET);
  serve(AF_INET);
}
// One port for each family.
static int listening6 = -1, client6 = -1, server6 = -1;
static void both_families(void) {
  loopback(AF_INET);
  listen_here(AF_INET, 5);
  client = connect_here(AF_INET);
  MUST(server = accept(listening, NULL, NULL));
  const struct sockaddr_storage four = at;
  any6();
  ((struct sockaddr_in6*)&at)->sin6_port = ((const struct sockaddr_in*)&four)->sin_port;
  if ((listening6 = socket(AF_INET6, SOCK_STREAM, 0)) < 0) SKIP("no IPv6");
  set(listening6, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  set(listening6, SOL_SOCKET, SO_REUSEADDR, 1);
  if (bind(listening6, (struct sockaddr*)&at, at_bytes)) SKIP("bind: %s", strerror(errno));
  MUST(listen(listening6, 5));
  go_to(AF_INET6);
  client6 = connect_here(AF_INET6);
  MUST(server6 = accept(listening6, NULL, NULL));
  put_bytes(client, "request");
  put_bytes(server, "an answer");
  put_bytes(client6, "request of six");
  go_to(AF_INET);
  connect_here(AF_INET);  // waits
}
static void check_both_families(void) {
  expect_both_ways();
  expect_bytes(server6, "request of six");
  CHECK(readable(listening) && !readable(listening6), "it waits elsewhere");
  MUST(accept(listening, NULL, NULL));
}

// ---- datagrams between the families, and to an address that is not the machine's
static void datagrams_mapped(void) {
  any6();
  if ((server = socket(AF_INET6, SOCK_DGRAM, 0)) < 0) SKIP("no IPv6");
  MUST(bind(server, (struct sockaddr*)&at, at_bytes));
  name_of(server);
  go_to(AF_INET);
  MUST(client = socket(AF_INET, SOCK_DGRAM, 0));
  MUST(connect(client, (struct sockaddr*)&at, at_bytes));
  put_bytes(client, "of four");
  MUST(client6 = socket(AF_INET6, SOCK_DGRAM, 0));
  go_to(AF_INET6);
  MUST(connect(client6, (struct sockaddr*)&at, at_bytes));
  put_bytes(client6, "of six");
}
static void expect_from(int sender, const char* text) {
  struct sockaddr_in6 from = {0}, mine = {0};
  socklen_t bytes = sizeof from;
  ssize_t got = recvfrom(server, now, sizeof data, MSG_DONTWAIT, (struct sockaddr*)&from, &bytes);
  CHECK(got == (ssize_t)strlen(text) && !memcmp(now, text, (size_t)got), "%zd bytes, not \"%s\"",
        got, text);
  bytes = sizeof mine;
  MUST(getsockname(sender, (struct sockaddr*)&mine, &bytes));
  CHECK(from.sin6_port == mine.sin6_port, "from port %d", ntohs(from.sin6_port));
}
static void check_datagrams_mapped(void) {
  expect_from(client, "of four");
  expect_from(client6, "of six");
  put_bytes(client, "more");
  expect_from(client, "more");
}
// The receiver is bound everywhere, the sender too: which address it came from was the route's.
static void datagrams_everywhere(void) {
  loopback(AF_INET);
  any();
  MUST(server = socket(AF_INET, SOCK_DGRAM, 0));
  MUST(bind(server, (struct sockaddr*)&at, at_bytes));
  name_of(server);
  go_to(AF_INET);
  ((struct sockaddr_in*)&at)->sin_addr.s_addr = htonl(0x7f000505);
  MUST(client = socket(AF_INET, SOCK_DGRAM, 0));
  struct sockaddr_in mine = {.sin_family = AF_INET};
  MUST(bind(client, (struct sockaddr*)&mine, sizeof mine));
  MUST(sendto(client, "everywhere", 10, 0, (struct sockaddr*)&at, at_bytes));
}
static void check_datagrams_everywhere(void) { expect_from(client, "everywhere"); }
static struct sockaddr_storage free_name;
static void bind_freely(int family, int type) {
  const int six = family == AF_INET6;
  loopback(family);
  if (six) inet_pton(AF_INET6, "2001:db8::77", &((struct sockaddr_in6*)&at)->sin6_addr);
  if (!six) inet_pton(AF_INET, "192.0.2.77", &((struct sockaddr_in*)&at)->sin_addr);
  if ((server = socket(family, type, 0)) < 0) SKIP("no family %d", family);
  set(server, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_FREEBIND : IP_FREEBIND, 1);
  if (bind(server, (struct sockaddr*)&at, at_bytes)) SKIP("bind: %s", strerror(errno));
  set(server, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_FREEBIND : IP_FREEBIND, 0);
  name_of(server);
  free_name = at;
}
static void freely(void) {
  bind_freely(AF_INET, SOCK_STREAM);
  MUST(listen(server, 3));
}
static void freely6(void) { bind_freely(AF_INET6, SOCK_DGRAM); }
static void check_freely(void) {
  at = free_name;
  expect_same_name(server);
  const int six = at.ss_family == AF_INET6;
  CHECK(option(server, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_FREEBIND : IP_FREEBIND) == 0,
        "IP_FREEBIND");
}

// ---- connected with itself
static void connect_with_itself(int family, int type) {
  loopback(family);
  if ((client = socket(family, type, 0)) < 0) SKIP("no family %d", family);
  if (bind(client, (struct sockaddr*)&at, at_bytes)) SKIP("no address of family %d", family);
  name_of(client);
  MUST(connect(client, (struct sockaddr*)&at, at_bytes));
}
static void itself(void) {
  connect_with_itself(AF_INET, SOCK_STREAM);
  put_bytes(client, "to itself");
}
static void expect_itself(void) {
  struct sockaddr_storage mine = {0}, theirs = {0};
  socklen_t bytes = sizeof mine;
  MUST(getsockname(client, (struct sockaddr*)&mine, &bytes));
  bytes = sizeof theirs;
  MUST(getpeername(client, (struct sockaddr*)&theirs, &bytes));
  CHECK(!memcmp(&mine, &theirs, sizeof mine), "it is not connected with itself");
  expect_bytes(client, "to itself");
  expect_nothing(client);
  put_bytes(client, "again");
  expect_bytes(client, "again");
}
static void check_itself(void) {
  expect_itself();
  MUST(shutdown(client, SHUT_WR));
  CHECK(read(client, now, 1) == 0, "the end is not seen");
}
static void itself6(void) {
  connect_with_itself(AF_INET6, SOCK_STREAM);
  put_bytes(client, "to itself");
}
static void itself_udp(void) {
  connect_with_itself(AF_INET, SOCK_DGRAM);
  put_bytes(client, "to itself");
}
static void itself_udp6(void) {
  connect_with_itself(AF_INET6, SOCK_DGRAM);
  put_bytes(client, "to itself");
}
static void itself_ended(void) {
  itself();
  MUST(shutdown(client, SHUT_WR));
}
static void check_itself_ended(void) {
  expect_bytes(client, "to itself");
  CHECK(read(client, now, 1) == 0, "the end is not seen");
  CHECK(send(client, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "it can send");
}

// ---- more than the far end has room for
static size_t unsent;
static int state_of(int fd) {
  struct tcp_info info;
  socklen_t bytes = sizeof info;
  MUST(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes));
  return info.tcpi_state;
}
static void expect_state(int fd, int state) {
  CHECK(state_of(fd) == state, "its state is %d, not %d", state_of(fd), state);
}
static void see_end(int fd) {
  struct pollfd ready = {.fd = fd, .events = POLLRDHUP};
  MUST(poll(&ready, 1, -1));
}
static unsigned char byte_at(size_t place) { return (unsigned char)(place * 7 + place / 251); }
static void stuff(void) {
  if (geteuid() != 0) SKIP("only root can read what was not sent");
  make_pair(AF_INET);
  MUST(fcntl(client, F_SETFL, O_NONBLOCK));
  set(client, SOL_SOCKET, SO_REUSEADDR, 1);
  for (;;) {
    for (size_t i = 0; i < 4096; i++) data[i] = byte_at(unsent + i);
    ssize_t n = write(client, data, 4096);
    if (n < 0) break;
    unsent += (size_t)n;
  }
  CHECK(errno == EAGAIN, "set-up: write: %s", strerror(errno));
}
static void expect_all(void) {
  size_t got = 0;
  ssize_t n;
  while (got < unsent && (n = read(server, now, sizeof data)) > 0)
    for (ssize_t i = 0; i < n; i++, got++)
      CHECK(now[i] == byte_at(got), "byte %zu is another", got);
  CHECK(got == unsent, "%zu bytes of %zu", got, unsent);
  CHECK(option(client, SOL_SOCKET, SO_REUSEADDR) == 1, "SO_REUSEADDR");
}
static void expect_end(int fd) { CHECK(read(fd, now, 1) == 0, "the end is not seen"); }
static void unsent_established(void) {
  stuff();
  expect_state(client, TCP_ESTABLISHED);
}
static void check_unsent_established(void) {
  expect_all();
  put_bytes(client, "more");
  expect_bytes(server, "more");
}
static void unsent_fin_wait(void) {
  stuff();
  MUST(shutdown(client, SHUT_WR));
  expect_state(client, TCP_FIN_WAIT1);
}
static void check_unsent_fin_wait(void) {
  expect_all();
  expect_end(server);
  put_bytes(server, "back");
  expect_bytes(client, "back");
}
static void unsent_closing(void) {
  unsent_fin_wait();
  MUST(shutdown(server, SHUT_WR));
  see_end(client);
  expect_state(client, TCP_CLOSING);
}
static void check_unsent_both_ended(void) {
  expect_end(client);
  expect_all();
  expect_end(server);
}
static void unsent_close_wait(void) {
  stuff();
  MUST(shutdown(server, SHUT_WR));
  see_end(client);
  expect_state(client, TCP_CLOSE_WAIT);
}
static void check_unsent_close_wait(void) {
  expect_end(client);
  expect_all();
  put_bytes(client, "more");
  expect_bytes(server, "more");
}
static void unsent_last_ack(void) {
  unsent_close_wait();
  MUST(shutdown(client, SHUT_WR));
  expect_state(client, TCP_LAST_ACK);
}

// ---- options of a connection
static const struct {
  int level, name, value;
  const char* text;
} to_set[] = {
    {IPPROTO_TCP, 44, 7000, "TCP_RTO_MAX_MS"},
    {IPPROTO_TCP, 45, 100000, "TCP_RTO_MIN_US"},
    {IPPROTO_TCP, 46, 20000, "TCP_DELACK_MAX_US"},
    {IPPROTO_TCP, TCP_WINDOW_CLAMP, 30000, "TCP_WINDOW_CLAMP"},
    {IPPROTO_IPV6, IPV6_2292PKTINFO, 1, "IPV6_2292PKTINFO"},
    {IPPROTO_IPV6, IPV6_2292HOPLIMIT, 1, "IPV6_2292HOPLIMIT"},
    {IPPROTO_IPV6, 30, 1, "IPV6_ROUTER_ALERT_ISOLATE"},
    {SOL_SOCKET, 72, 0, "SO_BUF_LOCK"},  // last, and only looked at
    {SOL_SOCKET, SO_SNDBUF, 0, "SO_SNDBUF"},
    {SOL_SOCKET, SO_RCVBUF, 0, "SO_RCVBUF"},
};
enum { TO_SET = sizeof to_set / sizeof *to_set, LOOKED_AT = TO_SET - 3 };
static int had[2][TO_SET];
static int is_tuned;  // the client's: the kernel enlarges its room when what waits is looked at
static int option_or(int fd, int level, int name) {
  int value = -1;
  socklen_t bytes = sizeof value;
  return getsockopt(fd, level, name, &value, &bytes) ? -errno : value;
}
static void look_at_options(void) {
  for (int i = 0; i < TO_SET; i++) {
    had[0][i] = option_or(client, to_set[i].level, to_set[i].name);
    had[1][i] = option_or(server, to_set[i].level, to_set[i].name);
  }
}
static void options_of(int family) {
  make_pair(family);
  for (int i = 0; i < LOOKED_AT; i++)
    setsockopt(client, to_set[i].level, to_set[i].name, &to_set[i].value, sizeof(int));
  CHECK(option(client, IPPROTO_TCP, TCP_WINDOW_CLAMP) == 30000, "set-up: TCP_WINDOW_CLAMP");
  look_at_options();
}
static void check_options(void) {
  for (int i = 0; i < TO_SET; i++)
    for (int end = 0; end < 2; end++) {
      int is = option_or(end == 0 ? client : server, to_set[i].level, to_set[i].name);
      const int name = to_set[i].name;
      const int grows = is_tuned && end == 0 && (name == TCP_WINDOW_CLAMP || name == SO_RCVBUF);
      // Sizes are set by their halves.
      CHECK(is == had[end][i] || (i > LOOKED_AT && is == had[end][i] - 1) ||
                (grows && is > had[end][i]),
            "%s of end %d is %d, was %d", to_set[i].text, end, is, had[end][i]);
    }
}
static void options4(void) { options_of(AF_INET); }
static void options6(void) { options_of(AF_INET6); }
// What has come and gone has changed the sizes; one end's are the program's own choice.
static void options_of_used(void) {
  make_pair(AF_INET);
  set(server, SOL_SOCKET, SO_RCVBUF, 50000);
  for (int i = 0; i < 20; i++) {
    CHECK(write(server, data, 100000) == 100000, "set-up: write");
    for (ssize_t got = 0, n; got < 100000; got += n) MUST(n = read(client, now, sizeof data));
  }
  CHECK(write(server, data, 100000) == 100000, "set-up: write");
  look_at_options();
  is_tuned = 1;
}
static void fast_open_key(void) {
  static const char key[16] = "sixteen bytes..";
  loopback(AF_INET);
  listen_here(AF_INET, 5);
  if (setsockopt(listening, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, sizeof key))
    SKIP("TCP_FASTOPEN_KEY: %s", strerror(errno));
}
static void check_fast_open_key(void) {
  char key[32] = {0};
  socklen_t bytes = sizeof key;
  MUST(getsockopt(listening, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, &bytes));
  CHECK(bytes == 16 && !strcmp(key, "sixteen bytes.."), "the key of %u bytes", bytes);
}

int main(int argc, char** argv) {
  static const struct subject subjects[] = {
      {"mapped", mapped, check_mapped},
      {"mapped_alone", mapped_alone, check_mapped_alone},
      {"mapped_half_closed", mapped_half_closed, check_mapped_half_closed},
      {"mapped_waiting", mapped_waiting, check_mapped_waiting},
      {"mapped_client", mapped_client, check_mapped_client},
      {"both_families", both_families, check_both_families},
      {"datagrams_mapped", datagrams_mapped, check_datagrams_mapped},
      {"datagrams_everywhere", datagrams_everywhere, check_datagrams_everywhere},
      {"freely", freely, check_freely},
      {"freely6", freely6, check_freely},
      {"itself", itself, check_itself},
      {"itself6", itself6, check_itself},
      {"itself_udp", itself_udp, expect_itself},
      {"itself_udp6", itself_udp6, expect_itself},
      {"itself_ended", itself_ended, check_itself_ended},
      {"options", options4, check_options},
      {"options6", options6, check_options},
      {"options_of_used", options_of_used, check_options},
      {"fast_open_key", fast_open_key, check_fast_open_key},
      {"unsent_established", unsent_established, check_unsent_established},
      {"unsent_fin_wait", unsent_fin_wait, check_unsent_fin_wait},
      {"unsent_closing", unsent_closing, check_unsent_both_ended},
      {"unsent_close_wait", unsent_close_wait, check_unsent_close_wait},
      {"unsent_last_ack", unsent_last_ack, check_unsent_both_ended},
      {NULL, NULL, NULL}};
  return run_subject(argc, argv, subjects);
}
