// What the kernel tells nobody, or what cannot be made again: it is named when the program is
// saved.
#include "fd.h"

#include <linux/if_packet.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/fanotify.h>
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

// Marks of fanotify on a file of ours, which others do not write to.
static char watched[100];
static void watch(unsigned flags, uint64_t mask) {
  seed();
  snprintf(watched, sizeof watched, "watched-%.8s", selfcheck_nonce);
  MUST(server = open(watched, O_CREAT | O_RDWR, 0600));
  client = fanotify_init(flags | FAN_NONBLOCK, O_RDONLY);
  if (client < 0) SKIP("fanotify_init: %s", strerror(errno));
  MUST(fanotify_mark(client, FAN_MARK_ADD, mask, AT_FDCWD, watched));
}
static void check_watch(void) {
  char room[4096];
  CHECK(read(client, room, sizeof room) == -1 && errno == EAGAIN, "an event has come");
  put_bytes(server, "x");
  CHECK(read(client, room, sizeof room) > 0, "nothing was told");
}
static void unread_events(void) {
  watch(FAN_REPORT_FID, FAN_MODIFY);
  put_bytes(server, "x");
}
static void asked_for_permission(void) {
  watch(FAN_CLASS_CONTENT, FAN_MODIFY | FAN_ACCESS_PERM);
  MUST(close(server));  // or who saves its content would wait for us
}
static void check_asked_for_permission(void) {
  char byte;
  MUST(server = open(watched, O_RDWR));
  MUST(pread(server, &byte, 1, 0));  // would wait for an answer
  check_watch();
}
// What keeps the file is no descriptor, which would lead to it.
static void nameless_watched(void) {
  watch(FAN_REPORT_FID, FAN_MODIFY);
  MUST(ftruncate(server, 4096));
  MUST(mmap(NULL, 4096, PROT_READ, MAP_SHARED, server, 0));
  MUST(unlink(watched));
  MUST(close(server));
  char room[4096];
  MUST(read(client, room, sizeof room));
}
static void check_nameless_watched(void) {
  char text[500];
  snprintf(watched, sizeof watched, "/proc/self/fdinfo/%d", client);
  MUST(server = open(watched, O_RDONLY));
  const ssize_t got = read(server, text, sizeof text - 1);
  MUST(got);
  text[got] = 0;
  CHECK(strstr(text, "fanotify flags:") && !strstr(text, "mask:"), "its marks: %s", text);
}

static void make_queue(int flags, mode_t mode) {
  char name[100];
  seed();
  snprintf(name, sizeof name, "/ckpt-test-%.8s", selfcheck_nonce);
  client = mq_open(name, O_CREAT | O_EXCL | O_NONBLOCK | flags, mode, NULL);
  if (client < 0) SKIP("mq_open: %s", strerror(errno));
  MUST(mq_unlink(name));
}
static void told_of_messages(void) {
  const struct sigevent event = {.sigev_notify = SIGEV_NONE};
  make_queue(O_RDWR, 0600);
  MUST(mq_notify(client, &event));
}
static void check_told_of_messages(void) {
  const struct sigevent event = {.sigev_notify = SIGEV_NONE};
  MUST(mq_notify(client, &event));  // EBUSY, if it still were
}
// Not even by the one who made it.
static void unreadable_queue(void) {
  if (geteuid() == 0) SKIP("root reads every queue");
  make_queue(O_WRONLY, 0200);
  MUST(mq_send(client, "seen by nobody", 14, 1));
}
static void check_unreadable_queue(void) {
  struct mq_attr attributes;
  MUST(mq_getattr(client, &attributes));
  CHECK(attributes.mq_curmsgs == 0, "it holds %ld messages", attributes.mq_curmsgs);
  MUST(mq_send(client, "another", 7, 1));
}

static void ring_of_packets(void) {
  const struct tpacket_req ring = {4096, 1, 2048, 2};
  client = socket(AF_PACKET, SOCK_RAW, 0);
  if (client < 0) SKIP("socket: %s", strerror(errno));
  MUST(setsockopt(client, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring));
}
static void check_ring_of_packets(void) {
  CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, client, 0) == MAP_FAILED, "there is a ring");
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
      {"unread_events", unread_events, check_watch},
      {"asked_for_permission", asked_for_permission, check_asked_for_permission},
      {"nameless_watched", nameless_watched, check_nameless_watched},
      {"told_of_messages", told_of_messages, check_told_of_messages},
      {"unreadable_queue", unreadable_queue, check_unreadable_queue},
      {"ring_of_packets", ring_of_packets, check_ring_of_packets},
      {NULL, NULL, NULL}};
  return run_subject(argc, argv, subjects);
}
