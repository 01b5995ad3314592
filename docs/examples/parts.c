// parts: has a child process, a connection with it, and a userfaultfd, to show what a fidelity report
// looks like. (Its pipe, its timer and its epoll set come back: they are not in the report.)
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void ready(void) {}

int main(void) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t bytes = sizeof at;
  int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
  bind(server, (struct sockaddr*)&at, bytes);
  listen(server, 1);
  getsockname(server, (struct sockaddr*)&at, &bytes);
  connect(client, (struct sockaddr*)&at, bytes);
  if (fork() == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int connection = accept(server, 0, 0);
    write(connection, "hello", 5);
    for (;;) pause();
  }
  close(server);
  char first;
  recv(client, &first, 1, MSG_PEEK);
  int ends[2], events = epoll_create1(0);
  pipe(ends);
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(events, EPOLL_CTL_ADD, timerfd_create(0, 0), &event);
  syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY);
  ready();
  return 0;
}
