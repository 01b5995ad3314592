// parts: has a socket, a timer and a child process, to show what a fidelity report looks like.
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

int ready(void) {
  return 0;
}

int main(void) {
  struct sockaddr_in any = {.sin_family = AF_INET};
  int server = socket(AF_INET, SOCK_STREAM, 0);
  bind(server, (struct sockaddr *)&any, sizeof any);
  listen(server, 1);
  timerfd_create(0, 0);
  alarm(60);
  if (fork() == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pause();
    _exit(0);
  }
  return ready();
}
