// usage: proc_messages. Credentials in messages: the process id that a socket tells of the program
// and of its children is the one that getpid() gives, and one that the program names itself is
// taken; the program's own memory stays as it was. One thread receives since before the save.
#include "../selfcheck.h"

#include <sys/socket.h>
#include <sys/wait.h>

enum { EARLY, STREAM, DATAGRAM, PACKETS, KINDS };
static const int types[KINDS] = {SOCK_SEQPACKET, SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
static int ends[KINDS][2];
static int self, waiting;

union control {
  char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];
  struct cmsghdr align;
};

static void prepare(struct msghdr* message, struct iovec* data, char* byte,
                    union control* control) {
  *data = (struct iovec){byte, 1};
  memset(control, 0, sizeof *control);
  *message = (struct msghdr){.msg_iov = data, .msg_iovlen = 1};
}

// With the credentials of `pid`, and behind a descriptor if asked for.
static void name_sender(struct msghdr* message, union control* control, int pid, int descriptor) {
  message->msg_control = control->bytes;
  message->msg_controllen = sizeof control->bytes;
  struct cmsghdr* header = CMSG_FIRSTHDR(message);
  if (descriptor >= 0) {
    *header = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    header = CMSG_NXTHDR(message, header);
  } else {
    message->msg_controllen = CMSG_SPACE(sizeof(struct ucred));
  }
  const struct ucred credentials = {pid, getuid(), getgid()};
  *header = (struct cmsghdr){CMSG_LEN(sizeof credentials), SOL_SOCKET, SCM_CREDENTIALS};
  memcpy(CMSG_DATA(header), &credentials, sizeof credentials);
}

static int sender_of(struct msghdr* message) {
  int found = -1;
  for (struct cmsghdr* at = CMSG_FIRSTHDR(message); at; at = CMSG_NXTHDR(message, at)) {
    if (at->cmsg_level == SOL_SOCKET && at->cmsg_type == SCM_RIGHTS)
      close(*(int*)(void*)CMSG_DATA(at));
    if (at->cmsg_level == SOL_SOCKET && at->cmsg_type == SCM_CREDENTIALS)
      found = ((struct ucred*)(void*)CMSG_DATA(at))->pid;
  }
  return found;
}

static int receive(int kind, int by_call) {
  struct mmsghdr message;
  struct iovec data;
  union control control;
  char byte;
  prepare(&message.msg_hdr, &data, &byte, &control);
  message.msg_hdr.msg_control = control.bytes;
  message.msg_hdr.msg_controllen = sizeof control.bytes;
  long got = 0;
  const int fd = ends[kind][1];
  switch (by_call) {
    case 0: got = recvmsg(fd, &message.msg_hdr, 0); break;
    case 1: got = syscall(SYS_recvmsg, fd, &message.msg_hdr, 0); break;
    case 2: got = recvmmsg(fd, &message, 1, 0, NULL); break;
    default: got = syscall(SYS_recvmmsg, fd, &message, 1, 0, NULL); break;
  }
  CHECK(got == 1, "received %ld: %s", got, strerror(errno));
  return sender_of(&message.msg_hdr);
}

static void send_one(int kind, int by_call, int pid, int descriptor) {
  struct mmsghdr message;
  struct iovec data;
  union control control, before;
  char byte = 'x';
  prepare(&message.msg_hdr, &data, &byte, &control);
  if (pid) name_sender(&message.msg_hdr, &control, pid, descriptor);
  before = control;
  long sent = 0;
  const int fd = ends[kind][0];
  switch (by_call) {
    case 0: sent = sendmsg(fd, &message.msg_hdr, 0); break;
    case 1: sent = syscall(SYS_sendmsg, fd, &message.msg_hdr, 0); break;
    case 2: sent = sendmmsg(fd, &message, 1, 0); break;
    default: sent = syscall(SYS_sendmmsg, fd, &message, 1, 0); break;
  }
  CHECK(sent == 1, "kind %d, by %d: sent %ld: %s", kind, by_call, sent, strerror(errno));
  CHECK(by_call < 2 || message.msg_len == 1, "%u bytes", message.msg_len);
  CHECK(!memcmp(&before, &control, sizeof control), "the control data has changed");
}

static void* waits(void* unused) {
  __atomic_store_n(&waiting, 1, __ATOMIC_SEQ_CST);
  const int sender = receive(EARLY, 0);
  CHECK(sender == self, "received early: from %d, not %d", sender, self);
  return unused;
}

static void all_kinds(void) {
  for (int kind = EARLY; kind < KINDS; kind++)
    for (int by_call = 0; by_call < 4; by_call++)
      for (int named = 0; named < 3; named++) {
        send_one(kind, by_call, named ? getpid() : 0, named == 2 ? 0 : -1);
        const int sender = receive(kind, by_call);
        CHECK(sender == getpid(), "kind %d, by %d, named %d: from %d, not %d", kind, by_call, named,
              sender, getpid());
      }
}

// What does not fit is cut off, in the midst of the credentials too.
static void cut_off(void) {
  for (size_t room = 0; room <= CMSG_SPACE(sizeof(struct ucred)); room++) {
    struct msghdr message;
    struct iovec data;
    union control control;
    char byte;
    send_one(DATAGRAM, 0, 0, -1);
    prepare(&message, &data, &byte, &control);
    memset(&control, 0x55, sizeof control);
    message.msg_control = control.bytes;
    message.msg_controllen = room;
    CHECK(recvmsg(ends[DATAGRAM][1], &message, 0) == 1, "recvmsg: %s", strerror(errno));
    for (size_t i = room; i < sizeof control; i++)
      CHECK(control.bytes[i] == 0x55, "room %zu: byte %zu has changed", room, i);
    CHECK(room < CMSG_LEN(sizeof(struct ucred)) || sender_of(&message) == self, "room %zu", room);
  }
}

int main(void) {
  pthread_t thread;
  const int on = 1;
  self = getpid();
  for (int kind = 0; kind < KINDS; kind++) {
    MUST(socketpair(AF_UNIX, types[kind], 0, ends[kind]));
    MUST(setsockopt(ends[kind][1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
  }
  CHECK(!pthread_create(&thread, NULL, waits, NULL), "pthread_create");
  while (!__atomic_load_n(&waiting, __ATOMIC_SEQ_CST)) sched_yield();
  ready();
  wait_line();
  send_one(EARLY, 0, 0, -1);
  CHECK(!pthread_join(thread, NULL), "join");
  all_kinds();
  cut_off();
  // A process that is not there.
  struct msghdr message;
  struct iovec data;
  union control control;
  char byte = 'x';
  prepare(&message, &data, &byte, &control);
  name_sender(&message, &control, 1 << 21, -1);
  if (getuid()) CHECK(sendmsg(ends[DATAGRAM][0], &message, 0) == -1 && errno == EPERM, "sent");
  int status = 0;
  pid_t child;
  MUST(child = fork());
  if (!child) {
    send_one(DATAGRAM, 0, getpid(), -1);
    all_kinds();
    _exit(0);
  }
  CHECK(waitpid(child, &status, 0) == child && status == 0, "the child: %x", status);
  // A full socket does not take more.
  prepare(&message, &data, &byte, &control);
  name_sender(&message, &control, self, -1);
  while (sendmsg(ends[PACKETS][0], &message, MSG_DONTWAIT) == 1) continue;
  CHECK(errno == EAGAIN, "a full socket: %s", strerror(errno));
  return pass();
}
