// Local sockets with both ends, or their listening side, in the program.
#include "fd.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static int ends[2] = {-1, -1}, listening = -1, client = -1, server = -1;
static struct sockaddr_un address;
static socklen_t address_bytes;
static unsigned char data[100000], now[100001];

static void pair(int type) { MUST(socketpair(AF_UNIX, type, 0, ends)); }
static void expect_datagram(int fd, const char* text) { expect_bytes(fd, text); }

static void stream(void) {
  pair(SOCK_STREAM | SOCK_CLOEXEC);
  put_bytes(ends[0], "to the second ");
  put_bytes(ends[0], "end");
  put_bytes(ends[1], "to the first");
}
static void check_stream(void) {
  CHECK((fcntl(ends[0], F_GETFD) & FD_CLOEXEC) && (fcntl(ends[1], F_GETFD) & FD_CLOEXEC),
        "cloexec");
  expect_bytes(ends[1], "to the second end");
  expect_bytes(ends[0], "to the first");
  expect_nothing(ends[0]);
  expect_nothing(ends[1]);
  put_bytes(ends[1], "more");
  expect_bytes(ends[0], "more");
  MUST(close(ends[0]));
  CHECK(read(ends[1], now, 1) == 0, "the end is not seen");
}
static void large_stream(void) {
  pair(SOCK_STREAM);
  fill(data, sizeof data, seed());
  CHECK(write(ends[0], data, sizeof data) == sizeof data, "set-up: write");
}
static void check_large_stream(void) {
  size_t got = 0;
  while (got < sizeof data) {
    ssize_t n = read(ends[1], now + got, sizeof now - got);
    CHECK(n > 0, "read: %zd after %zu bytes", n, got);
    got += (size_t)n;
  }
  CHECK(!memcmp(now, data, sizeof data), "content");
  expect_nothing(ends[1]);
}
static void datagrams(void) {
  pair(SOCK_DGRAM);
  put_bytes(ends[0], "one");
  CHECK(send(ends[0], "", 0, 0) == 0, "set-up: send");
  put_bytes(ends[0], "three");
  put_bytes(ends[1], "back");
}
static void check_datagrams(void) {
  expect_datagram(ends[1], "one");
  CHECK(recv(ends[1], now, sizeof now, 0) == 0, "the empty datagram");
  expect_datagram(ends[1], "three");
  expect_datagram(ends[0], "back");
  expect_nothing(ends[1]);
}
static void packets(void) {
  pair(SOCK_SEQPACKET);
  put_bytes(ends[0], "first packet");
  put_bytes(ends[0], "second");
}
static void check_packets(void) {
  expect_bytes(ends[1], "first packet");
  expect_bytes(ends[1], "second");
  expect_nothing(ends[1]);
  put_bytes(ends[1], "x");
  expect_bytes(ends[0], "x");
}
static void half_closed(void) {
  pair(SOCK_STREAM);
  put_bytes(ends[0], "last words");
  MUST(shutdown(ends[0], SHUT_WR));
}
static void check_half_closed(void) {
  expect_bytes(ends[1], "last words");
  CHECK(read(ends[1], now, 1) == 0, "the end is not seen");
  put_bytes(ends[1], "still open");
  expect_bytes(ends[0], "still open");
  CHECK(send(ends[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "it can send again");
}
static void other_end_closed(void) {
  pair(SOCK_STREAM);
  put_bytes(ends[0], "testament");
  MUST(close(ends[0]));
}
static void check_other_end_closed(void) {
  expect_bytes(ends[1], "testament");
  CHECK(read(ends[1], now, 1) == 0, "the end is not seen");
  CHECK(send(ends[1], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "send: %s", strerror(errno));
}
static void duplicate(void) {
  pair(SOCK_STREAM);
  MUST(client = dup(ends[0]));
  MUST(fcntl(ends[0], F_SETFL, O_NONBLOCK));
}
static void check_duplicate(void) {
  CHECK(fcntl(client, F_GETFL) & O_NONBLOCK, "flags are not shared");
  CHECK(!(fcntl(ends[1], F_GETFL) & O_NONBLOCK), "the other end's flags");
  MUST(close(ends[0]));
  put_bytes(client, "through the duplicate");
  expect_bytes(ends[1], "through the duplicate");
}

// More than a new socket can send at once, and one packet that alone is.
enum { PACKET = 30000, LARGEST = 250000 };
static int sent_packets;
static void large_packets(void) {
  int size = 400000;
  pair(SOCK_SEQPACKET | SOCK_NONBLOCK);
  MUST(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
  MUST(setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
  fill(data, sizeof data, seed());
  while (send(ends[0], data + sent_packets, PACKET, 0) == PACKET) sent_packets++;
  CHECK(errno == EAGAIN && sent_packets > 8, "set-up: %d packets", sent_packets);
  void* large = calloc(1, LARGEST);
  CHECK(send(ends[1], large, LARGEST, 0) == LARGEST, "set-up: send: %s", strerror(errno));
  free(large);
}
static int option(int fd, int which);
static void check_large_packets(void) {
  for (int i = 0; i < sent_packets; i++) {
    ssize_t got = read(ends[1], now, sizeof now);
    CHECK(got == PACKET && !memcmp(now, data + i, PACKET), "packet %d of %d: %zd bytes", i,
          sent_packets, got);
  }
  expect_nothing(ends[1]);
  CHECK(recv(ends[0], now, 1, MSG_TRUNC) == LARGEST, "the largest: %s", strerror(errno));
  expect_nothing(ends[0]);
  CHECK(option(ends[0], SO_SNDBUF) == option(ends[1], SO_SNDBUF), "SO_SNDBUF is %d",
        option(ends[0], SO_SNDBUF));
}

// ---- descriptors in messages
static void pass_on(int through, int fd, const char* text) {
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr head;
  } control = {.bytes = {0}};
  struct iovec piece = {.iov_base = (void*)text, .iov_len = strlen(text)};
  struct msghdr message = {.msg_iov = &piece,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
  control.head.cmsg_level = SOL_SOCKET;
  control.head.cmsg_type = SCM_RIGHTS;
  control.head.cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
  MUST(sendmsg(through, &message, 0));
}
static int take(int from, const char* text) {
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr head;
  } control;
  char into[100];
  struct iovec piece = {.iov_base = into, .iov_len = sizeof into};
  struct msghdr message = {.msg_iov = &piece,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
  ssize_t got = recvmsg(from, &message, 0);
  CHECK(got == (ssize_t)strlen(text) && !memcmp(into, text, (size_t)got), "message of %zd bytes",
        got);
  struct cmsghdr* head = CMSG_FIRSTHDR(&message);
  CHECK(head && head->cmsg_type == SCM_RIGHTS, "no descriptor came with it");
  int fd;
  memcpy(&fd, CMSG_DATA(head), sizeof fd);
  return fd;
}
static int through[2];
static void passed_pipe(void) {
  pair(SOCK_STREAM);
  MUST(pipe(through));
  put_bytes(through[1], "in the passed pipe");
  pass_on(ends[0], through[0], "reader");
  MUST(close(through[0]));  // the message has the only reference
}
static void check_passed_pipe(void) {
  int reader = take(ends[1], "reader");
  expect_bytes(reader, "in the passed pipe");
  put_bytes(through[1], "and more");
  expect_bytes(reader, "and more");
  MUST(close(through[1]));
  CHECK(read(reader, now, 1) == 0, "another writer is left");
}
static void passed_own(void) {
  pair(SOCK_SEQPACKET);
  put_bytes(ends[0], "before");
  MUST(client = open("/etc/passwd", O_RDONLY));
  MUST(lseek(client, 5, SEEK_SET));
  pass_on(ends[0], client, "file");
  put_bytes(ends[0], "after");
}
static void check_passed_own(void) {
  expect_bytes(ends[1], "before");
  int fd = take(ends[1], "file");
  expect_bytes(ends[1], "after");
  MUST(lseek(client, 9, SEEK_SET));
  CHECK(lseek(fd, 0, SEEK_CUR) == 9, "the offset is not shared");
}
static void passed_socket(void) {
  int inner[2];
  pair(SOCK_STREAM);
  MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, inner));
  put_bytes(inner[0], "inside");
  pass_on(ends[0], inner[1], "socket");
  MUST(close(inner[1]));
  client = inner[0];
}
static void check_passed_socket(void) {
  int fd = take(ends[1], "socket");
  expect_bytes(fd, "inside");
  put_bytes(fd, "answer");
  expect_bytes(client, "answer");
}

// ---- names
static void name(const char* suffix, int abstract) {
  memset(&address, 0, sizeof address);
  address.sun_family = AF_UNIX;
  // Relative to the working directory: an absolute name may be too long.
  const char* directory = getenv("SOCKET_DIRECTORY") ? getenv("SOCKET_DIRECTORY") : ".";
  int length =
      abstract ? snprintf(address.sun_path + 1, 100, "ckpt-%s%s", selfcheck_nonce, suffix) + 1
               : snprintf(address.sun_path, 100, "%s/s-%.8s%s", directory, selfcheck_nonce, suffix);
  address_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)length + !abstract);
}
static void expect_name(int fd) {
  struct sockaddr_un is = {0};
  socklen_t bytes = sizeof is;
  MUST(getsockname(fd, (struct sockaddr*)&is, &bytes));
  CHECK(bytes == address_bytes && !memcmp(&is, &address, bytes), "its name is \"%s\"",
        is.sun_path[0] ? is.sun_path : is.sun_path + 1);
}
static void listen_at(int type, int abstract, int backlog) {
  seed();
  name("", abstract);
  MUST(listening = socket(AF_UNIX, type, 0));
  MUST(bind(listening, (struct sockaddr*)&address, address_bytes));
  MUST(listen(listening, backlog));
}
static int connect_to_it(int type) {
  int fd = socket(AF_UNIX, type, 0);
  MUST(fd);
  CHECK(!connect(fd, (struct sockaddr*)&address, address_bytes), "connect: %s", strerror(errno));
  return fd;
}
static void leave(void) {
  if (address.sun_path[0]) MUST(unlink(address.sun_path));
}
static void serve(int type) {
  expect_name(listening);
  int mine = connect_to_it(type);
  int theirs = accept(listening, NULL, NULL);
  CHECK(theirs >= 0, "accept: %s", strerror(errno));
  put_bytes(mine, "served");
  expect_bytes(theirs, "served");
}
static void listening_path(void) { listen_at(SOCK_STREAM, 0, 5); }
static void check_listening_path(void) {
  struct stat status;
  CHECK(!stat(address.sun_path, &status) && S_ISSOCK(status.st_mode), "the file");
  serve(SOCK_STREAM);
  leave();
}
static void listening_abstract(void) { listen_at(SOCK_SEQPACKET, 1, 5); }
static void check_listening_abstract(void) { serve(SOCK_SEQPACKET); }
static void backlog(void) { listen_at(SOCK_STREAM, 1, 2); }
static void check_backlog(void) {
  int fds[3];
  for (int i = 0; i < 3; i++) fds[i] = connect_to_it(SOCK_STREAM);
  int fourth = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  CHECK(connect(fourth, (struct sockaddr*)&address, address_bytes) == -1 && errno == EAGAIN,
        "a fourth connection fits: %s", strerror(errno));
  (void)fds;
}
static void accepted(void) {
  listen_at(SOCK_STREAM, 0, 5);
  client = connect_to_it(SOCK_STREAM);
  MUST(server = accept(listening, NULL, NULL));
  put_bytes(client, "request");
  put_bytes(server, "answer");
}
static void check_accepted(void) {
  struct sockaddr_un peer = {0};
  socklen_t bytes = sizeof peer;
  expect_name(server);
  MUST(getpeername(client, (struct sockaddr*)&peer, &bytes));
  CHECK(bytes == address_bytes && !memcmp(&peer, &address, bytes), "the peer's name");
  expect_bytes(server, "request");
  expect_bytes(client, "answer");
  serve(SOCK_STREAM);
  leave();
}
static void waiting(void) {
  listen_at(SOCK_STREAM, 1, 5);
  client = connect_to_it(SOCK_STREAM);
}
static void check_waiting(void) {
  CHECK(readable(listening), "nobody waits to be accepted");
  MUST(server = accept(listening, NULL, NULL));
  put_bytes(client, "at last");
  expect_bytes(server, "at last");
  CHECK(!readable(listening), "another waits to be accepted");
}
static void named_datagrams(void) {
  seed();
  MUST(client = socket(AF_UNIX, SOCK_DGRAM, 0));
  name("-client", 1);
  MUST(bind(client, (struct sockaddr*)&address, address_bytes));
  MUST(server = socket(AF_UNIX, SOCK_DGRAM, 0));
  name("-server", 1);
  MUST(bind(server, (struct sockaddr*)&address, address_bytes));
  MUST(connect(client, (struct sockaddr*)&address, address_bytes));
  put_bytes(client, "datagram");
}
static void check_named_datagrams(void) {
  struct sockaddr_un from = {0};
  socklen_t bytes = sizeof from;
  expect_name(server);
  CHECK(recvfrom(server, now, sizeof now, 0, (struct sockaddr*)&from, &bytes) == 8, "recvfrom");
  name("-client", 1);
  CHECK(bytes == address_bytes && !memcmp(&from, &address, bytes), "the sender's name");
  put_bytes(client, "again");
  expect_bytes(server, "again");
}

// By an abstract name, and by a path that is gone, too.
static void closed_sender(void) {
  seed();
  MUST(server = socket(AF_UNIX, SOCK_DGRAM, 0));
  name("-server", 1);
  MUST(bind(server, (struct sockaddr*)&address, address_bytes));
  const struct sockaddr_un to = address;
  const socklen_t to_bytes = address_bytes;
  for (int abstract = 0; abstract < 2; abstract++) {
    MUST(client = socket(AF_UNIX, SOCK_DGRAM, 0));
    name("-gone", abstract);
    MUST(bind(client, (struct sockaddr*)&address, address_bytes));
    for (int i = 0; i < 2; i++) MUST(sendto(client, "last", 4, 0, (struct sockaddr*)&to, to_bytes));
    MUST(close(client));
    leave();
  }
}
static void check_closed_sender(void) {
  for (int i = 0; i < 4; i++) {
    struct sockaddr_un from = {0};
    socklen_t bytes = sizeof from;
    CHECK(recvfrom(server, now, 9, MSG_DONTWAIT, (struct sockaddr*)&from, &bytes) == 4,
          "recvfrom: %s", strerror(errno));
    name("-gone", i / 2);
    CHECK(bytes == address_bytes && !memcmp(&from, &address, bytes), "the sender's name, %d", i);
  }
  expect_nothing(server);
  name("-gone", 0);
  CHECK(access(address.sun_path, F_OK) == -1, "the sender's path is there again");
}

// Their peer is closed: what it has sent is there, and its name; to send fails, and ends that.
static void expect_closed_peer(int fd) {
  CHECK(send(fd, "x", 1, MSG_NOSIGNAL) == -1 && errno == ECONNREFUSED, "send: %s", strerror(errno));
  CHECK(send(fd, "x", 1, MSG_NOSIGNAL) == -1 && errno == ENOTCONN, "again: %s", strerror(errno));
}
static void peer_closed(void) {
  pair(SOCK_DGRAM);
  put_bytes(ends[0], "one");
  put_bytes(ends[0], "two");
  MUST(close(ends[0]));
}
static void check_peer_closed(void) {
  expect_datagram(ends[1], "one");
  expect_datagram(ends[1], "two");
  expect_nothing(ends[1]);
  expect_closed_peer(ends[1]);
}
static void named_peer_closed(void) {
  seed();
  struct sockaddr_un to;
  MUST(server = socket(AF_UNIX, SOCK_DGRAM, 0));
  name("-stays", 1);
  MUST(bind(server, (struct sockaddr*)&address, address_bytes));
  to = address;
  const socklen_t to_bytes = address_bytes;
  MUST(client = socket(AF_UNIX, SOCK_DGRAM, 0));
  name("-closes", 1);
  MUST(bind(client, (struct sockaddr*)&address, address_bytes));
  MUST(connect(server, (struct sockaddr*)&address, address_bytes));
  MUST(sendto(client, "last", 4, 0, (struct sockaddr*)&to, to_bytes));
  MUST(close(client));
}
static void check_named_peer_closed(void) {
  struct sockaddr_un from = {0}, peer = {0};
  socklen_t bytes = sizeof from, peer_bytes = sizeof peer;
  CHECK(recvfrom(server, now, 9, MSG_DONTWAIT, (struct sockaddr*)&from, &bytes) == 4,
        "recvfrom: %s", strerror(errno));
  MUST(getpeername(server, (struct sockaddr*)&peer, &peer_bytes));
  name("-closes", 1);
  CHECK(bytes == address_bytes && !memcmp(&from, &address, bytes), "the sender's name");
  CHECK(peer_bytes == address_bytes && !memcmp(&peer, &address, bytes), "the peer's name");
  name("-stays", 1);
  expect_name(server);
  expect_closed_peer(server);
}

// Connected with itself.
static void own_name(void) {
  seed();
  MUST(server = socket(AF_UNIX, SOCK_DGRAM, 0));
  name("-own", 1);
  MUST(bind(server, (struct sockaddr*)&address, address_bytes));
  MUST(connect(server, (struct sockaddr*)&address, address_bytes));
  put_bytes(server, "to itself");
}
static void check_own_name(void) {
  expect_name(server);
  expect_bytes(server, "to itself");
  put_bytes(server, "again");
  expect_bytes(server, "again");
}

// ---- options
static void options(void) {
  int on = 1, size = 50000, low = 3;
  struct timeval wait = {.tv_sec = 7, .tv_usec = 500000};
  pair(SOCK_STREAM);
  MUST(setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
  MUST(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
  MUST(setsockopt(ends[0], SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low));
  MUST(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait));
}
static int option(int fd, int which) {
  int value = -1;
  socklen_t bytes = sizeof value;
  MUST(getsockopt(fd, SOL_SOCKET, which, &value, &bytes));
  return value;
}
static void check_options(void) {
  struct timeval wait = {0};
  socklen_t bytes = sizeof wait;
  CHECK(option(ends[0], SO_PASSCRED) == 1 && option(ends[1], SO_PASSCRED) == 0, "SO_PASSCRED");
  CHECK(option(ends[0], SO_SNDBUF) == 100000, "SO_SNDBUF %d", option(ends[0], SO_SNDBUF));
  CHECK(option(ends[0], SO_RCVLOWAT) == 3, "SO_RCVLOWAT");
  MUST(getsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &wait, &bytes));
  CHECK(wait.tv_sec == 7 && wait.tv_usec == 500000, "SO_RCVTIMEO");
}
static void credentials(void) { pair(SOCK_STREAM); }
static void check_credentials(void) {
  struct ucred who = {0};
  socklen_t bytes = sizeof who;
  MUST(getsockopt(ends[0], SOL_SOCKET, SO_PEERCRED, &who, &bytes));
  CHECK(who.pid == getpid() && who.uid == geteuid() && who.gid == getegid(), "pid %d of %d",
        who.pid, getpid());
}
static void peek_offset(void) {
  int offset = 2;
  pair(SOCK_STREAM);
  put_bytes(ends[0], "abcdef");
  MUST(setsockopt(ends[1], SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset));
}
static void check_peek_offset(void) {
  CHECK(recv(ends[1], now, 2, MSG_PEEK) == 2 && !memcmp(now, "cd", 2), "peek");
  CHECK(recv(ends[1], now, 2, MSG_PEEK) == 2 && !memcmp(now, "ef", 2), "peek further");
  expect_bytes(ends[1], "abcdef");
}
static void* receive(void* unused) {
  (void)unused;
  expect_bytes(ends[1], "wake up");
  return (void*)1;
}
static void blocked_reader(void) {
  pair(SOCK_STREAM);
  begin_helper(receive);
}
static void check_blocked_reader(void) {
  put_bytes(ends[0], "wake up");
  CHECK(end_helper() == 1, "the waiting thread");
}
static void* accept_one(void* unused) {
  (void)unused;
  int fd = accept(listening, NULL, NULL);
  CHECK(fd >= 0, "accept: %s", strerror(errno));
  return (void*)1;
}
static void blocked_accept(void) {
  listen_at(SOCK_STREAM, 1, 5);
  begin_helper(accept_one);
}
static void check_blocked_accept(void) {
  client = connect_to_it(SOCK_STREAM);
  CHECK(end_helper() == 1, "the waiting thread");
}
static void unconnected(void) { MUST(client = socket(AF_UNIX, SOCK_STREAM, 0)); }
static void check_unconnected(void) {
  CHECK(read(client, now, 1) == -1 && errno == EINVAL, "read: %s", strerror(errno));
  listen_at(SOCK_STREAM, 1, 1);
  MUST(connect(client, (struct sockaddr*)&address, address_bytes));
}

int main(int argc, char** argv) {
  static const struct subject subjects[] = {
      {"stream", stream, check_stream},
      {"large_stream", large_stream, check_large_stream},
      {"datagrams", datagrams, check_datagrams},
      {"packets", packets, check_packets},
      {"large_packets", large_packets, check_large_packets},
      {"half_closed", half_closed, check_half_closed},
      {"other_end_closed", other_end_closed, check_other_end_closed},
      {"duplicate", duplicate, check_duplicate},
      {"passed_pipe", passed_pipe, check_passed_pipe},
      {"passed_own", passed_own, check_passed_own},
      {"passed_socket", passed_socket, check_passed_socket},
      {"listening_path", listening_path, check_listening_path},
      {"listening_abstract", listening_abstract, check_listening_abstract},
      {"backlog", backlog, check_backlog},
      {"accepted", accepted, check_accepted},
      {"waiting", waiting, check_waiting},
      {"named_datagrams", named_datagrams, check_named_datagrams},
      {"closed_sender", closed_sender, check_closed_sender},
      {"peer_closed", peer_closed, check_peer_closed},
      {"named_peer_closed", named_peer_closed, check_named_peer_closed},
      {"options", options, check_options},
      {"credentials", credentials, check_credentials},
      {"peek_offset", peek_offset, check_peek_offset},
      {"blocked_reader", blocked_reader, check_blocked_reader},
      {"blocked_accept", blocked_accept, check_blocked_accept},
      {"own_name", own_name, check_own_name},
      {"unconnected", unconnected, check_unconnected},
      {NULL, NULL, NULL}};
  return run_subject(argc, argv, subjects);
}
