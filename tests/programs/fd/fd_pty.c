// Pseudoterminals with both ends in the program.
#include "fd.h"

#include <sys/ioctl.h>
#include <termios.h>

static int master = -1, slave = -1, own = -1;
static struct termios modes;

static void make(int raw) {
  MUST(master = open("/dev/ptmx", O_RDWR | O_NOCTTY));
  MUST(grantpt(master));
  MUST(unlockpt(master));
  MUST(slave = open(ptsname(master), O_RDWR | O_NOCTTY));
  MUST(tcgetattr(slave, &modes));
  modes.c_lflag &= ~(tcflag_t)ECHO;
  if (raw) cfmakeraw(&modes);
  MUST(tcsetattr(slave, TCSANOW, &modes));
}
// What was written arrives a little later.
static void arrives(int fd) {
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  CHECK(poll(&ready, 1, 10000) == 1, "set-up: nothing arrives");
}
static void input(void) {
  make(1);
  put_bytes(master, "typed ahead");
  arrives(slave);
}
static void check_input(void) {
  expect_bytes(slave, "typed ahead");
  expect_nothing(slave);
  put_bytes(slave, "x");
  arrives(master);
  expect_bytes(master, "x");
}
static void lines(void) {
  make(0);
  put_bytes(master, "first\nsecond\nbegun");
  arrives(slave);
}
static void check_lines(void) {
  expect_bytes(slave, "first\n");
  expect_bytes(slave, "second\n");
  expect_nothing(slave);
  put_bytes(master, " and ended\n");
  arrives(slave);
  expect_bytes(slave, "begun and ended\n");
}
static void output(void) {
  make(0);
  put_bytes(slave, "printed\n");
  arrives(master);
}
static void check_output(void) {
  expect_bytes(master, "printed\r\n");
  expect_nothing(master);
}
static void settings(void) {
  struct winsize size = {.ws_row = 31, .ws_col = 97};
  make(0);
  modes.c_cc[VERASE] = 'E';
  modes.c_lflag &= ~(tcflag_t)ISIG;
  MUST(tcsetattr(slave, TCSANOW, &modes));
  MUST(ioctl(master, TIOCSWINSZ, &size));
}
static void check_settings(void) {
  struct termios now;
  struct winsize size;
  MUST(tcgetattr(slave, &now));
  CHECK(now.c_lflag == modes.c_lflag && now.c_iflag == modes.c_iflag && now.c_cc[VERASE] == 'E',
        "modes");
  MUST(ioctl(slave, TIOCGWINSZ, &size));
  CHECK(size.ws_row == 31 && size.ws_col == 97, "size %d %d", size.ws_row, size.ws_col);
  char name[50];
  CHECK(!ttyname_r(slave, name, sizeof name) && !strcmp(name, ptsname(master)), "names");
}
static void exclusive(void) {
  make(0);
  MUST(ioctl(slave, TIOCEXCL));
}
static void check_exclusive(void) {
  int on = -1;
  MUST(ioctl(slave, TIOCGEXCL, &on));
  CHECK(on == 1, "exclusive: %d", on);
}
static void packets(void) {
  int on = 1;
  make(1);
  MUST(ioctl(master, TIOCPKT, &on));
  put_bytes(slave, "in a packet");
  arrives(master);
}
static void check_packets(void) {
  char now[50] = "";
  CHECK(
      read(master, now, 50) == 12 && now[0] == TIOCPKT_DATA && !memcmp(now + 1, "in a packet", 11),
      "packet");
}
static void* read_line(void* unused) {
  (void)unused;
  expect_bytes(slave, "a line\n");
  return (void*)1;
}
static void blocked_reader(void) {
  make(0);
  begin_helper(read_line);
}
static void check_blocked_reader(void) {
  put_bytes(master, "a line\n");
  CHECK(end_helper() == 1, "the waiting thread");
}
static void closed_slave(void) {
  make(1);
  MUST(close(slave));
}
static void check_closed_slave(void) {
  char now;
  CHECK(read(master, &now, 1) == -1 && errno == EIO, "read: %s", strerror(errno));
}
// It controls the program, which so has a session and a foreground of its own.
static volatile sig_atomic_t interrupts;
static void on_interrupt(int number) { interrupts += number == SIGINT; }
static void controlling(void) {
  signal(SIGINT, on_interrupt);
  MUST(setsid());
  make(0);
  MUST(ioctl(slave, TIOCSCTTY, 0));
  MUST(own = open("/dev/tty", O_RDWR));
}
static void check_controlling(void) {
  CHECK(getsid(0) == getpid() && getpgrp() == getpid(), "the session");
  CHECK(tcgetsid(slave) == getpid(), "the terminal is that of session %d", tcgetsid(slave));
  CHECK(tcgetpgrp(slave) == getpgrp(), "group %d is in the foreground", tcgetpgrp(slave));
  put_bytes(master, "a line\n");
  arrives(slave);
  expect_bytes(own, "a line\n");
  put_bytes(master, "another line\n");
  arrives(slave);
  int again;
  MUST(again = open("/dev/tty", O_RDWR));
  expect_bytes(again, "another line\n");
  put_bytes(master, "\003");
  while (!interrupts) sched_yield();
}

int main(int argc, char** argv) {
  static const struct subject subjects[] = {
      {"input", input, check_input},
      {"lines", lines, check_lines},
      {"output", output, check_output},
      {"settings", settings, check_settings},
      {"exclusive", exclusive, check_exclusive},
      {"packets", packets, check_packets},
      {"blocked_reader", blocked_reader, check_blocked_reader},
      {"closed_slave", closed_slave, check_closed_slave},
      {"controlling", controlling, check_controlling},
      {NULL, NULL, NULL}};
  return run_subject(argc, argv, subjects);
}
