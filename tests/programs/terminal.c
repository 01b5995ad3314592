// usage: terminal. Run on a terminal: its modes (no echo, no canonical input) come back, typing
// works, Ctrl-C reaches the program, and it is in the foreground.
#include "selfcheck.h"

#include <sys/ioctl.h>
#include <sys/select.h>
#include <termios.h>

static volatile sig_atomic_t interrupts;
static void on_interrupt(int number) {
  (void)number;
  interrupts++;
}

int main(void) {
  struct termios modes, now;
  CHECK(isatty(0) && isatty(1), "not on a terminal");
  MUST(tcgetattr(0, &modes));
  modes.c_lflag &= (tcflag_t) ~(ECHO | ICANON);
  modes.c_cc[VMIN] = 1;
  modes.c_cc[VTIME] = 0;
  MUST(tcsetattr(0, TCSANOW, &modes));
  struct sigaction action = {.sa_handler = on_interrupt};
  MUST(sigaction(SIGINT, &action, NULL));
  ready();
  wait_line();
  CHECK(isatty(0) && isatty(1) && isatty(2), "not on a terminal any more");
  MUST(tcgetattr(0, &now));
  CHECK(now.c_lflag == modes.c_lflag && now.c_iflag == modes.c_iflag &&
            now.c_oflag == modes.c_oflag && !memcmp(now.c_cc, modes.c_cc, sizeof now.c_cc),
        "the terminal's modes: %#x, were %#x", now.c_lflag, modes.c_lflag);
  CHECK(tcgetpgrp(0) == getpgrp(), "not in the foreground: group %d of %d", getpgrp(),
        tcgetpgrp(0));
  // Blocked until the wait has begun: a Ctrl-C that comes earlier must not be over by then.
  sigset_t interrupt, before;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  MUST(sigprocmask(SIG_BLOCK, &interrupt, &before));
  say("TYPE");  // the test presses Ctrl-C now
  fd_set input;
  FD_ZERO(&input);
  FD_SET(0, &input);
  int got = pselect(1, &input, NULL, NULL, NULL, &before);
  CHECK(got == -1 && errno == EINTR && interrupts == 1, "pselect returned %d (%s), %d interrupts",
        got, strerror(errno), (int)interrupts);
  return pass();
}
