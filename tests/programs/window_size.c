// Says the size of its terminal whenever SIGWINCH comes, and at the end.
#include "selfcheck.h"

#include <sys/ioctl.h>

static volatile sig_atomic_t signals;

static void note(int number) {
  (void)number;
  struct winsize size = {0};
  ioctl(0, TIOCGWINSZ, &size);
  signals = signals + 1;
  say("resized to %d rows, %d columns", size.ws_row, size.ws_col);
}

int main(void) {
  struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
  MUST(sigaction(SIGWINCH, &action, NULL));
  ready();
  wait_line();
  say("signals: %d.", (int)signals);
  return pass();
}
