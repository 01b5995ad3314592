// Sockets of rarer kinds: raw IP, ping, UDP-Lite and packet sockets.
#include "fd.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>

enum { LITE = 136, RECEIVE_COVERAGE = 11, ICMP_FILTER_OPTION = 1, HEADER_INCLUDED = 36 };

static int one = -1, other = -1, connected = -1;
static struct sockaddr_in at;
static socklen_t bytes;

static int make(int domain, int type, int protocol) {
  int fd = socket(domain, type, protocol);
  if (fd < 0) SKIP("socket(%d, %d, %d): %s", domain, type, protocol, strerror(errno));
  return fd;
}
static int option(int fd, int level, int which) {
  int value = -1;
  bytes = sizeof value;
  MUST(getsockopt(fd, level, which, &value, &bytes));
  return value;
}
static void set(int fd, int level, int which, int value) {
  MUST(setsockopt(fd, level, which, &value, sizeof value));
}
static void here(void) {
  at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}
static void expect_soon(int fd) {
  struct pollfd state = {.fd = fd, .events = POLLIN};
  CHECK(poll(&state, 1, 10000) == 1, "nothing comes");
}

// Sent to the machine itself, an echo request is heard by every raw socket of ICMP, also those of
// other tests: ours have a number.
static uint16_t number;
static void send_echo(int fd) {
  struct icmphdr request = {.type = ICMP_ECHO, .un.echo.id = htons(number)};
  const unsigned sum = ICMP_ECHO + (unsigned)htons(number);
  request.checksum = (uint16_t) ~((sum & 0xffff) + (sum >> 16));
  CHECK(send(fd, &request, sizeof request, 0) == sizeof request, "send: %s", strerror(errno));
}
// Nothing gets through but ICMP with that number.
static void hear_ours(int fd) {
  number = (uint16_t)seed();
  struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),
                               BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMP, 0, 3),
                               BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 24),
                               BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
                               BPF_STMT(BPF_RET | BPF_K, 0xffff),
                               BPF_STMT(BPF_RET | BPF_K, 0)};
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  MUST(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
  char byte;
  while (recv(fd, &byte, 1, MSG_DONTWAIT) >= 0) continue;  // what has come before
}
static void raw(void) {
  here();
  one = make(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  hear_ours(one);
  const int all_but_echo = ~(1 << ICMP_ECHO);
  MUST(setsockopt(one, SOL_RAW, ICMP_FILTER_OPTION, &all_but_echo, sizeof all_but_echo));
  set(one, IPPROTO_IP, IP_TTL, 9);
  MUST(bind(one, (struct sockaddr*)&at, sizeof at));
  MUST(connect(one, (struct sockaddr*)&at, sizeof at));
  other = make(AF_INET, SOCK_RAW, IPPROTO_RAW);
}
static void check_raw(void) {
  unsigned char packet[200];
  struct sockaddr_in is;
  CHECK(option(one, SOL_RAW, ICMP_FILTER_OPTION) == ~(1 << ICMP_ECHO), "the filter");
  CHECK(option(one, IPPROTO_IP, IP_TTL) == 9, "the time to live");
  CHECK(option(other, IPPROTO_IP, IP_HDRINCL) == 1, "IP_HDRINCL");
  CHECK(option(other, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_RAW, "the protocol");
  bytes = sizeof is;
  MUST(getsockname(one, (struct sockaddr*)&is, &bytes));
  CHECK(is.sin_addr.s_addr == at.sin_addr.s_addr, "the address");
  send_echo(one);  // needs the peer
  expect_soon(one);
  const ssize_t got = recv(one, packet, sizeof packet, 0);
  CHECK(got == 28 && packet[8] == 9 && packet[20] == ICMP_ECHO, "%zd bytes, time to live %d", got,
        packet[8]);
}
static void raw6(void) {
  struct icmp6_filter filter;
  one = make(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
  ICMP6_FILTER_SETBLOCKALL(&filter);
  ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
  MUST(setsockopt(one, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter));
  other = make(AF_INET6, SOCK_RAW, 200);
  set(other, IPPROTO_IPV6, IPV6_CHECKSUM, 2);
  set(other, IPPROTO_IPV6, HEADER_INCLUDED, 1);
  const struct sockaddr_in6 peer = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  connected = make(AF_INET6, SOCK_RAW, 201);
  if (connect(connected, (const struct sockaddr*)&peer, sizeof peer))
    SKIP("connect: %s", strerror(errno));
}
static void check_raw6(void) {
  struct icmp6_filter filter;
  bytes = sizeof filter;
  MUST(getsockopt(one, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, &bytes));
  CHECK(ICMP6_FILTER_WILLPASS(ICMP6_ECHO_REPLY, &filter) &&
            ICMP6_FILTER_WILLBLOCK(ICMP6_ECHO_REQUEST, &filter),
        "the filter");
  CHECK(option(other, IPPROTO_IPV6, IPV6_CHECKSUM) == 2, "IPV6_CHECKSUM");
  CHECK(option(other, IPPROTO_IPV6, HEADER_INCLUDED) == 1, "IPV6_HDRINCL");
  char byte;
  CHECK(send(connected, "x", 1, 0) == 1, "send: %s", strerror(errno));  // needs the peer
  expect_soon(connected);
  CHECK(recv(connected, &byte, 1, 0) == 1 && byte == 'x', "what has come");
  expect_nothing(one);
}
static void ping(void) {
  here();
  one = make(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
  at.sin_port = htons(4711);
  if (bind(one, (struct sockaddr*)&at, sizeof at)) SKIP("bind: %s", strerror(errno));
}
static void check_ping(void) {
  struct sockaddr_in is;
  struct icmphdr answer;
  bytes = sizeof is;
  MUST(getsockname(one, (struct sockaddr*)&is, &bytes));
  CHECK(is.sin_port == at.sin_port, "the number is %d", ntohs(is.sin_port));
  MUST(connect(one, (struct sockaddr*)&at, sizeof at));
  send_echo(one);
  expect_soon(one);
  CHECK(recv(one, &answer, sizeof answer, 0) == sizeof answer && answer.type == ICMP_ECHOREPLY,
        "the answer");
}
static void udp_lite(void) {
  here();
  one = make(AF_INET, SOCK_DGRAM, LITE);
  set(one, LITE, RECEIVE_COVERAGE, 20);
  MUST(bind(one, (struct sockaddr*)&at, sizeof at));
  bytes = sizeof at;
  MUST(getsockname(one, (struct sockaddr*)&at, &bytes));
  other = make(AF_INET, SOCK_DGRAM, LITE);
  MUST(connect(other, (struct sockaddr*)&at, sizeof at));
  put_bytes(other, "a light one");
  expect_soon(one);
}
static void check_udp_lite(void) {
  CHECK(option(one, LITE, RECEIVE_COVERAGE) == 20, "the coverage");
  expect_bytes(one, "a light one");
  put_bytes(other, "another");
  expect_soon(one);
  expect_bytes(one, "another");
}

// A packet to the machine itself is seen twice, going out and coming in.
static struct sockaddr_ll where;
static void packet(void) {
  where = (struct sockaddr_ll){.sll_family = AF_PACKET,
                               .sll_protocol = htons(ETH_P_IP),
                               .sll_ifindex = (int)if_nametoindex("lo")};
  struct packet_mreq group = {.mr_ifindex = where.sll_ifindex, .mr_type = PACKET_MR_ALLMULTI};
  one = make(AF_PACKET, SOCK_DGRAM, 0);
  hear_ours(one);
  set(one, SOL_PACKET, PACKET_AUXDATA, 1);
  set(one, SOL_PACKET, PACKET_COPY_THRESH, 1234);
  set(one, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
  set(one, SOL_PACKET, PACKET_VERSION, TPACKET_V2);
  MUST(setsockopt(one, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &group, sizeof group));
  MUST(bind(one, (struct sockaddr*)&where, sizeof where));
  other = make(AF_PACKET, SOCK_RAW, 0);
}
// What anybody's membership makes of the interface.
static int all_groups_of_loopback(void) {
  char text[20] = {0};
  int fd = open("/sys/class/net/lo/flags", O_RDONLY);
  CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0, "flags: %s", strerror(errno));
  close(fd);
  return (strtol(text, NULL, 16) & IFF_ALLMULTI) != 0;
}
static void check_packet(void) {
  unsigned char got[200];
  struct sockaddr_ll is = {0};
  bytes = sizeof is;
  MUST(getsockname(one, (struct sockaddr*)&is, &bytes));
  CHECK(is.sll_ifindex == where.sll_ifindex && is.sll_protocol == where.sll_protocol,
        "bound to interface %d, protocol %x", is.sll_ifindex, ntohs(is.sll_protocol));
  CHECK(option(one, SOL_PACKET, PACKET_AUXDATA) == 1, "PACKET_AUXDATA");
  CHECK(option(one, SOL_PACKET, PACKET_IGNORE_OUTGOING) == 1, "PACKET_IGNORE_OUTGOING");
  CHECK(option(one, SOL_PACKET, PACKET_VERSION) == TPACKET_V2, "PACKET_VERSION");
  int threshold = 1234;  // told since Linux 6.8
  bytes = sizeof threshold;
  getsockopt(one, SOL_PACKET, PACKET_COPY_THRESH, &threshold, &bytes);
  CHECK(threshold == 1234, "PACKET_COPY_THRESH");
  CHECK(all_groups_of_loopback(), "the membership");
  bytes = sizeof is;
  MUST(getsockname(other, (struct sockaddr*)&is, &bytes));
  CHECK(is.sll_ifindex == 0 && is.sll_protocol == 0, "the unbound one is bound to %d",
        is.sll_ifindex);
  expect_nothing(other);
  here();
  int sender = make(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  MUST(connect(sender, (struct sockaddr*)&at, sizeof at));
  send_echo(sender);
  expect_soon(one);
  CHECK(recv(one, got, sizeof got, 0) >= 28 && got[9] == IPPROTO_ICMP, "what has come");
}
static void old_packet(void) {
  struct sockaddr name = {AF_PACKET, "lo"};
  one = make(AF_PACKET, SOCK_PACKET, htons(ETH_P_ARP));
  MUST(bind(one, &name, sizeof name));
  other = make(AF_PACKET, SOCK_PACKET, 0);
}
static void check_old_packet(void) {
  struct sockaddr name = {0};
  bytes = sizeof name;
  MUST(getsockname(one, &name, &bytes));
  CHECK(!strcmp(name.sa_data, "lo"), "bound to \"%.14s\"", name.sa_data);
  MUST(getsockname(other, &name, &bytes));
  CHECK(!name.sa_data[0], "one that was not bound is bound to \"%.14s\"", name.sa_data);
  expect_nothing(one);
}

int main(int argc, char** argv) {
  static const struct subject subjects[] = {{"raw", raw, check_raw},
                                            {"raw6", raw6, check_raw6},
                                            {"ping", ping, check_ping},
                                            {"udp_lite", udp_lite, check_udp_lite},
                                            {"packet", packet, check_packet},
                                            {"old_packet", old_packet, check_old_packet},
                                            {NULL, NULL, NULL}};
  return run_subject(argc, argv, subjects);
}
