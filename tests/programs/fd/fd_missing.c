// What the kernel tells nobody, or what cannot be made again: it is named when the program is
// saved.
#include "fd.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

static int client = -1, server = -1;

static void corked(void) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t bytes = sizeof at;
  const int on = 1;
  MUST(server = socket(AF_INET, SOCK_DGRAM, 0));
  MUST(bind(server, (struct sockaddr*)&at, sizeof at));
  MUST(getsockname(server, (struct sockaddr*)&at, &bytes));
  MUST(client = socket(AF_INET, SOCK_DGRAM, 0));
  MUST(connect(client, (struct sockaddr*)&at, sizeof at));
  MUST(setsockopt(client, IPPROTO_UDP, UDP_CORK, &on, sizeof on));
  put_bytes(client, "half of it");
}
static void check_corked(void) {
  const int off = 0;
  expect_nothing(server);
  put_bytes(client, "all of it");
  MUST(setsockopt(client, IPPROTO_UDP, UDP_CORK, &off, sizeof off));
  expect_bytes(server, "all of it");
}

// Nothing can be done with what stands in for it.
static void check_removed(void) {
  char byte, link[64];
  CHECK(read(client, &byte, 1) == -1 && errno == EBADF, "read: %s", strerror(errno));
  CHECK(openat(client, "etc", O_PATH) == -1 && errno == ENOTDIR, "openat: %s", strerror(errno));
  CHECK(fchdir(client) == -1 && errno == ENOTDIR, "fchdir: %s", strerror(errno));
  snprintf(link, sizeof link, "/proc/self/fd/%d", client);
  CHECK(open(link, O_RDONLY) == -1, "it can be opened again");
}

static void urgent_local(void) {
  int ends[2];
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  client = ends[0];
  server = ends[1];
  if (send(client, "!", 1, MSG_OOB) != 1) SKIP("send: %s", strerror(errno));
  put_bytes(client, "behind it");
}
static void check_urgent_local(void) { expect_bytes(server, "behind it"); }

// Nobody but the program can look into it.
static void secret(void) {
  client = (int)syscall(447, 0);  // memfd_secret
  if (client < 0) SKIP("memfd_secret: %s", strerror(errno));
  MUST(ftruncate(client, 4096));
  char* memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, client, 0);
  MUST(memory);
  strcpy(memory, "a secret");
}

// What a client has sent before it was accepted.
static void connect_and_send(int family, struct sockaddr* at, socklen_t bytes) {
  int listening;
  MUST(listening = socket(family, SOCK_STREAM, 0));
  MUST(bind(listening, at, bytes));
  bytes = family == AF_UNIX ? sizeof(struct sockaddr_un) : sizeof(struct sockaddr_in);
  MUST(getsockname(listening, at, &bytes));
  MUST(listen(listening, 5));
  server = listening;
  MUST(client = socket(family, SOCK_STREAM, 0));
  MUST(connect(client, at, bytes));
  put_bytes(client, "request");
}
static void unaccepted_tcp(void) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  connect_and_send(AF_INET, (struct sockaddr*)&at, sizeof at);
}
static void unaccepted_local(void) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};  // a name of the kernel's choice
  connect_and_send(AF_UNIX, (struct sockaddr*)&at, sizeof at.sun_family);
}
// The other end was in the program, which has closed it; the listening socket is there.
static void closed_peer(void) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  connect_and_send(AF_INET, (struct sockaddr*)&at, sizeof at);
  int accepted;
  MUST(accepted = accept(server, NULL, NULL));
  expect_bytes(accepted, "request");
  put_bytes(accepted, "last words");
  MUST(close(accepted));
  struct pollfd ready = {.fd = client, .events = POLLRDHUP};
  MUST(poll(&ready, 1, -1));
}
static void check_closed_peer(void) {
  char byte;
  expect_bytes(client, "last words");
  CHECK(read(client, &byte, 1) == 0, "the end is not seen");
}
// Nobody accepts those before it, so that the kernel lets it wait.
static void connecting(void) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t bytes = sizeof at;
  MUST(server = socket(AF_INET, SOCK_STREAM, 0));
  MUST(bind(server, (struct sockaddr*)&at, sizeof at));
  MUST(getsockname(server, (struct sockaddr*)&at, &bytes));
  MUST(listen(server, 0));
  for (int i = 0; i < 3; i++) {
    MUST(client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    CHECK(!connect(client, (struct sockaddr*)&at, sizeof at) || errno == EINPROGRESS, "connect");
  }
  CHECK(errno == EINPROGRESS && !readable(client), "set-up: it does not wait");
}
static void check_connecting(void) {
  struct pollfd ready = {.fd = client, .events = POLLOUT};
  MUST(poll(&ready, 1, -1));
  CHECK(send(client, "x", 1, MSG_NOSIGNAL) == -1 && (errno == ECONNRESET || errno == EPIPE),
        "send: %s", strerror(errno));
}
static void check_unaccepted(void) {
  CHECK(!readable(server), "somebody waits to be accepted");
  char byte;
  ssize_t got = recv(client, &byte, 1, 0);
  CHECK(got == 0 || (got == -1 && errno == ECONNRESET), "recv gives %zd: %s", got, strerror(errno));
}

// The file of a socket is left when that is closed, and is not ours to take away.
static struct sockaddr_un left = {.sun_family = AF_UNIX};
static void left_sender(void) {
  struct sockaddr_un to;
  socklen_t bytes = sizeof to;
  seed();
  snprintf(left.sun_path, sizeof left.sun_path, "left-%.8s", selfcheck_nonce);
  MUST(server = socket(AF_UNIX, SOCK_DGRAM, 0));
  MUST(bind(server, (struct sockaddr*)&left, sizeof left.sun_family));
  MUST(getsockname(server, (struct sockaddr*)&to, &bytes));
  MUST(client = socket(AF_UNIX, SOCK_DGRAM, 0));
  MUST(bind(client, (struct sockaddr*)&left, sizeof left));
  MUST(sendto(client, "last", 4, 0, (struct sockaddr*)&to, bytes));
  MUST(close(client));
}
static void check_left_sender(void) {
  struct sockaddr_un from;
  socklen_t bytes = sizeof from;
  char text[9];
  CHECK(recvfrom(server, text, sizeof text, 0, (struct sockaddr*)&from, &bytes) == 4, "recvfrom");
  CHECK(bytes == 0, "it has a name of %d bytes", (int)bytes);
  CHECK(access(left.sun_path, F_OK) == 0, "the file is gone");
}

int main(int argc, char** argv) {
  static const struct subject subjects[] = {
      {"corked", corked, check_corked},
      {"secret", secret, check_removed},
      {"urgent_local", urgent_local, check_urgent_local},
      {"unaccepted_tcp", unaccepted_tcp, check_unaccepted},
      {"closed_peer", closed_peer, check_closed_peer},
      {"connecting", connecting, check_connecting},
      {"left_sender", left_sender, check_left_sender},
      {"unaccepted_local", unaccepted_local, check_unaccepted},
      {NULL, NULL, NULL}};
  return run_subject(argc, argv, subjects);
}
