// Is saved by libckpt.so on a signal, and must see nothing of it: no child, no descriptor, no
// EINTR, no changed errno. The argument says what it does with signals itself.
// ckpt-cflags: -Wno-deprecated-declarations
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "selfcheck.h"

static int received;

static void on_signal(int signal) {
  (void)signal;
  received = 1;
}

static int count_descriptors(void) {
  int count = 0;
  DIR* directory = opendir("/proc/self/fd");
  CHECK(directory, "/proc/self/fd");
  while (readdir(directory)) count++;
  closedir(directory);
  return count;
}

static void check_children(void) {
  errno = 0;
  CHECK(waitpid(-1, NULL, __WALL | WNOHANG) == -1 && errno == ECHILD, "there is a child: %d",
        errno);
}

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  if (!strcmp(what, "sigaction")) MUST(sigaction(SIGUSR2, &action, NULL));
  if (!strcmp(what, "signal")) signal(SIGUSR2, on_signal);
  if (!strcmp(what, "sigset")) MUST(sigset(SIGUSR2, on_signal) == SIG_ERR ? -1 : 0);
  if (!strcmp(what, "signalfd")) MUST(signalfd(-1, &set, SFD_CLOEXEC));
  if (!strcmp(what, "reset")) {
    // Some run-time systems do this to all signals when they start.
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int number = 1; number < 32; number++) sigaction(number, &standard, NULL);
  }
  if (!strcmp(what, "clearenv")) clearenv();
  if (!strcmp(what, "subreaper")) MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
  int descriptors = count_descriptors();
  errno = 0;
  ready();
  if (!strcmp(what, "sigtimedwait")) {
    struct timespec none = {0, 0};
    sigtimedwait(&set, NULL, &none);
  }
  if (!strcmp(what, "errno")) {
    // Does not sleep: the signal arrives between two instructions.
    volatile uint64_t rounds = 0;
    char byte;
    MUST(fcntl(0, F_SETFL, O_NONBLOCK));
    for (;;) {
      errno = 4242;
      for (int i = 0; i < 100000; i++) {
        rounds++;
        CHECK(errno == 4242, "errno is %d", errno);
      }
      if (read(0, &byte, 1) == 1) break;
    }
    return pass();
  }
  for (;;) {
    char line[64];
    wait_line_into(line, sizeof line);
    if (strcmp(what, "subreaper")) check_children();
    CHECK(count_descriptors() == descriptors, "other descriptors than before");
    CHECK(argc < 3 || received == atoi(argv[2]), "received %d", received);
    if (strcmp(line, "more")) return pass();
    say("MORE");
  }
}
