// usage: many KIND COUNT. Has so many objects of a kind, prints a line and waits.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void check(int good, const char* what) {
  if (good) return;
  perror(what);
  exit(1);
}
static void* waits(void* unused) {
  for (;;) pause();
  return unused;
}
static void thread(void) {
  pthread_attr_t small;
  pthread_t made;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 64 << 10);
  check(!pthread_create(&made, &small, waits, NULL), "pthread_create");
}
// Two, as a change of protection makes of one.
static void mappings(void) {
  char* memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  check(memory != MAP_FAILED, "mmap");
  memory[0] = 1;
  check(!mprotect(memory + 4096, 4096, PROT_READ), "mprotect");
}
static void file(void) { check(open("/etc/passwd", O_RDONLY) >= 0, "open"); }
static void watched_event(void) {
  static int epoll = -1;
  if (epoll < 0) epoll = epoll_create1(0);
  struct epoll_event wanted = {.events = EPOLLIN};
  const int event = eventfd(1, 0);
  check(event >= 0 && !epoll_ctl(epoll, EPOLL_CTL_ADD, event, &wanted), "eventfd");
}
static void socket_pair(void) {
  int ends[2];
  check(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends), "socketpair");
  check(write(ends[0], "waits", 5) == 5, "write");
}

// The files lie where this program does.
static void watched_file(void) {
  static int inotify = -1, number;
  char name[32];
  if (inotify < 0) inotify = inotify_init();
  snprintf(name, sizeof name, "watched-%d", number++);
  const int made = open(name, O_CREAT | O_RDWR, 0600);
  check(made >= 0 && inotify_add_watch(inotify, name, IN_MODIFY) >= 0 && !close(made), name);
}

int main(int count, char** words) {
  static const struct {
    const char* name;
    void (*make)(void);
    int each;
  } kinds[] = {{"threads", thread, 1},
               {"mappings", mappings, 2},
               {"files", file, 1},
               {"events", watched_event, 1},
               {"watches", watched_file, 1},
               {"sockets", socket_pair, 2}};
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  for (size_t i = 0; count == 3 && i < sizeof kinds / sizeof *kinds; i++)
    if (!strcmp(words[1], kinds[i].name))
      for (int made = 0; made < atoi(words[2]); made += kinds[i].each) kinds[i].make();
  puts("READY");
  fflush(stdout);
  for (;;) pause();
}
