// Calls whose results the kernel writes in every form that the rules of calls know: vectors,
// messages with names and control data, sets of descriptors, a byte for each page, a size that is
// said by pointer, a structure that says its own size. A replay compares all memory.
// ckpt-build: no-nopie no-static
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define MUST(call) \
  if ((call) < 0) return perror(#call), 1

enum { MESSAGES = 3 };

// What a message is received into.
struct room {
  char first[3], second[20], control[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];
  struct sockaddr_un from;
  struct iovec parts[2];
};

static void prepare(struct msghdr* header, struct room* room) {
  room->parts[0] = (struct iovec){room->first, sizeof room->first};
  room->parts[1] = (struct iovec){room->second, sizeof room->second};
  *header = (struct msghdr){
      &room->from, sizeof room->from, room->parts, 2, room->control, sizeof room->control, 0};
}

static int send_named(int from, const char* text) {
  struct iovec part = {(char*)text, strlen(text)};
  struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
  return (int)sendmsg(from, &header, 0);
}

static int receive(void) {
  static struct room rooms[MESSAGES], alone;
  static struct mmsghdr many[MESSAGES];
  static struct msghdr one;
  int ends[2], on = 1;
  MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends));
  MUST(setsockopt(ends[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
  struct sockaddr_un name = {AF_UNIX, ""};
  MUST(bind(ends[0], (struct sockaddr*)&name,
            sizeof(sa_family_t)));  // a name of the kernel's choice
  const char* texts[] = {"a", "four", "a longer one", "alone"};
  for (int i = 0; i < 4; ++i) MUST(send_named(ends[0], texts[i]));
  for (int i = 0; i < MESSAGES; ++i) prepare(&many[i].msg_hdr, &rooms[i]);
  MUST(recvmmsg(ends[1], many, MESSAGES, 0, NULL));
  prepare(&one, &alone);
  MUST(recvmsg(ends[1], &one, 0));
  printf("%u %u %u %.2s %zu\n", many[0].msg_len, many[1].msg_len, many[2].msg_len, alone.second,
         one.msg_controllen);
  struct ucred peer;
  socklen_t size = sizeof peer;
  MUST(getsockopt(ends[0], SOL_SOCKET, SO_PEERCRED, &peer, &size));
  static struct sockaddr_un from;
  socklen_t from_bytes = sizeof from;
  static char text[10];
  MUST(send_named(ends[0], "with name"));
  MUST(recvfrom(ends[1], text, sizeof text, 0, (struct sockaddr*)&from, &from_bytes));
  struct mmsghdr out[2] = {0};
  struct iovec part = {text, 4};
  for (int i = 0; i < 2; ++i) out[i].msg_hdr = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1};
  MUST(sendmmsg(ends[0], out, 2, 0));
  printf("%d %u %u %u\n", peer.pid == getpid(), size, from_bytes, out[1].msg_len);
  return 0;
}

static int wait_for(int fd) {
  static fd_set readable, writable;
  FD_ZERO(&readable);
  FD_ZERO(&writable);
  FD_SET(fd, &readable);
  FD_SET(fd, &writable);
  struct timeval most = {5, 0};
  MUST(select(fd + 1, &readable, &writable, NULL, &most));
  struct pollfd one = {fd, POLLIN, 0};
  MUST(poll(&one, 1, 1000));
  const int set = epoll_create1(0);
  struct epoll_event event = {EPOLLIN, {.u64 = 7}}, found[4];
  MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
  MUST(epoll_wait(set, found, 4, 1000));
  printf("%d %d %d\n", FD_ISSET(fd, &readable), one.revents, (int)found[0].data.u64);
  return 0;
}

static int read_parts(void) {
  int ends[2];
  static char small[2], large[30];
  struct iovec parts[] = {{small, sizeof small}, {large, sizeof large}};
  MUST(pipe(ends));
  MUST(write(ends[1], "parts of a pipe", 15));
  if (wait_for(ends[0])) return 1;
  MUST(readv(ends[0], parts, 2));
  const int file = open("/proc/self/stat", O_RDONLY);
  MUST(preadv(file, parts, 2, 3));
  return 0;
}

static int ask(void) {
  static unsigned char resident[4];
  static struct utsname names;
  static struct sysinfo info;
  static struct rusage usage;
  static struct statx status;
  static gid_t groups[100];
  static struct timespec now;
  static union {
    struct file_handle head;
    char room[128];
  } handle;
  char* pages = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  pages[4096] = 1;
  MUST(mincore(pages, 4 * 4096, resident));
  MUST(uname(&names));
  MUST(sysinfo(&info));
  MUST(getrusage(RUSAGE_SELF, &usage));
  MUST(statx(AT_FDCWD, "/", 0, STATX_ALL, &status));
  MUST(getgroups(100, groups));
  MUST(clock_gettime(CLOCK_MONOTONIC, &now));
  int mount = 0;
  handle.head.handle_bytes = sizeof handle - sizeof handle.head;
  if (name_to_handle_at(AT_FDCWD, "/", &handle.head, &mount, 0) < 0 && errno != EOPNOTSUPP &&
      errno != EOVERFLOW)
    return perror("name_to_handle_at"), 1;
  printf("%d %d\n", resident[1] & 1, resident[3] & 1);
  return 0;
}

int main(void) { return receive() || read_parts() || ask(); }
