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
// Others may write to it (mesg(1)); the privileged have given it away.
static void permissions(void) {
  make(1);
  MUST(fchmod(slave, 0622));
  if (geteuid() == 0) MUST(fchown(slave, 1234, 5678));
}
static void check_permissions(void) {
  struct stat is;
  MUST(fstat(slave, &is));
  CHECK(is.st_mode == (S_IFCHR | 0622), "mode %o", is.st_mode);
  CHECK(geteuid() != 0 || (is.st_uid == 1234 && is.st_gid == 5678), "it belongs to %d:%d",
        (int)is.st_uid, (int)is.st_gid);
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
// Lines of input, one begun, and output at once.
static void both_ways(void) {
  lines();
  put_bytes(slave, "printed\n");
  arrives(master);
}
static void check_both_ways(void) {
  check_lines();
  check_output();
}
// One that is begun can still be changed.
static void begun(void) {
  make(0);
  put_bytes(master, "wronh");
}
static void check_begun(void) {
  expect_nothing(slave);
  put_bytes(master, "\177g\n");
  arrives(slave);
  expect_bytes(slave, "wrong\n");
}
// Ends of lines that are no newlines, and newlines that are none.
static void ends(void) {
  make(0);
  modes.c_cc[VEOL] = ';';
  MUST(tcsetattr(slave, TCSANOW, &modes));
  put_bytes(master, "first;\026\nsecond\n\004third\004\026\004\026\026\n");
  arrives(slave);
}
static void check_ends(void) {
  expect_bytes(slave, "first;");
  expect_bytes(slave, "\nsecond\n");
  expect_bytes(slave, "");
  expect_bytes(slave, "third");
  expect_bytes(slave, "\004\026\n");
  expect_nothing(slave);
}
// Typed before the slave handed over lines, which makes one of all of it.
static void lines_later(void) {
  make(1);
  put_bytes(master, "one\ntwo\nthree");
  arrives(slave);
  modes.c_lflag |= ICANON;
  MUST(tcsetattr(slave, TCSANOW, &modes));
  put_bytes(master, "four\n");
}
static void check_lines_later(void) {
  expect_bytes(slave, "one\ntwo\nthree");
  arrives(slave);
  expect_bytes(slave, "four\n");
}
// More than is taken in: what is behind has no meaning yet.
static void long_lines(void) {
  char line[100];
  memset(line, 'x', sizeof line);
  line[99] = '\n';
  make(0);
  for (int i = 0; i < 60; i++)
    if (write(master, line, sizeof line) != sizeof line) FAIL("set-up: write");
  put_bytes(master, "end\004");
  for (int i = 0; i < 50; i++)
    if (write(slave, line, sizeof line) != sizeof line) FAIL("set-up: write");
  arrives(slave);
  arrives(master);
}
static void check_long_lines(void) {
  char now[101];
  for (int i = 0; i < 60; i++) {
    arrives(slave);
    CHECK(read(slave, now, sizeof now) == 100 && now[99] == '\n', "line %d", i);
  }
  arrives(slave);
  expect_bytes(slave, "end");
  size_t total = 0;
  MUST(fcntl(master, F_SETFL, O_NONBLOCK));
  while (total < 5050) {
    arrives(master);
    ssize_t got = read(master, now, sizeof now);
    CHECK(got > 0, "after %zu bytes: %s", total, strerror(errno));
    total += (size_t)got;
  }
  CHECK(total == 5050 && read(master, now, 1) == -1, "%zu bytes", total);
}
static int may_write(void) {
  struct pollfd ready = {.fd = slave, .events = POLLOUT};
  return poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT);
}
static void stopped(void) {
  both_ways();
  MUST(tcflow(slave, TCOOFF));
}
static void check_stopped(void) {
  CHECK(!may_write(), "the output goes on");
  put_bytes(master, "\021");
  check_both_ways();
  CHECK(!may_write(), "the output goes on");
  MUST(tcflow(slave, TCOON));
  CHECK(may_write(), "the output does not go on");
}
// By Ctrl-S; the echo of what was typed then waits.
static void stopped_by_key(void) {
  output();
  put_bytes(master, "\023");
  while (may_write()) sched_yield();
  modes.c_lflag |= ECHO;
  MUST(tcsetattr(slave, TCSANOW, &modes));
  put_bytes(master, "typed");
  expect_nothing(slave);  // a look takes in what is no line yet
}
static void check_stopped_by_key(void) {
  CHECK(!may_write(), "the output goes on");
  MUST(tcflow(slave, TCOON));
  CHECK(!may_write(), "the output goes on");
  check_output();
  put_bytes(master, "\021");
  arrives(master);
  CHECK(may_write(), "the output does not go on");
  expect_bytes(master, "typed");
  put_bytes(master, "\n");
  arrives(slave);
  expect_bytes(slave, "typed\n");
}
static void stopped_master(void) {
  both_ways();
  MUST(tcflow(master, TCOOFF));
}
static void check_stopped_master(void) {
  struct pollfd ready = {.fd = master, .events = POLLOUT};
  CHECK(poll(&ready, 1, 0) == 0, "the master may write");
  MUST(tcflow(master, TCOON));
  check_both_ways();
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
// What the master is told of what was done to the slave.
static void told(void) {
  int on = 1;
  both_ways();
  MUST(tcflush(slave, TCIFLUSH));
  MUST(ioctl(master, TIOCPKT, &on));
  put_bytes(master, "typed\n");
  arrives(slave);
  MUST(tcflow(slave, TCOOFF));
}
static void check_told(void) {
  char now[50] = "";
  CHECK(read(master, now, 50) == 1 && now[0] == TIOCPKT_STOP, "told %d", now[0]);
  CHECK(read(master, now, 50) == 10 && now[0] == TIOCPKT_DATA, "data");
  expect_nothing(master);
  CHECK(!may_write(), "the output goes on");
  expect_bytes(slave, "typed\n");
}
static void told_of_flush(void) {
  int on = 1;
  make(0);
  MUST(ioctl(master, TIOCPKT, &on));
  MUST(tcflush(slave, TCIOFLUSH));
  MUST(tcflow(slave, TCOOFF));
  MUST(tcflow(slave, TCOON));
  struct termios other = modes;
  other.c_iflag &= ~(tcflag_t)IXON;
  MUST(tcsetattr(slave, TCSANOW, &other));
  put_bytes(master, "typed\nbegun");
  put_bytes(slave, "printed\n");
  arrives(slave);
}
static void check_told_of_flush(void) {
  char now[50] = "";
  CHECK(read(master, now, 50) == 1 &&
            now[0] == (TIOCPKT_FLUSHREAD | TIOCPKT_FLUSHWRITE | TIOCPKT_START | TIOCPKT_NOSTOP),
        "told %d", now[0]);
  CHECK(read(master, now, 50) == 10 && now[0] == TIOCPKT_DATA && !memcmp(now + 1, "printed\r\n", 9),
        "data");
  expect_nothing(master);
  expect_bytes(slave, "typed\n");
  expect_nothing(slave);
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
static void last_words(void) {
  both_ways();
  MUST(close(slave));
}
static void check_last_words(void) {
  char now;
  check_output();
  CHECK(read(master, &now, 1) == -1 && errno == EIO, "read: %s", strerror(errno));
  MUST(slave = open(ptsname(master), O_RDWR | O_NOCTTY));
  check_lines();
}
static void unopened(void) {
  int on = 1;
  MUST(master = open("/dev/ptmx", O_RDWR | O_NOCTTY));
  MUST(unlockpt(master));
  MUST(tcgetattr(master, &modes));
  modes.c_lflag &= ~(tcflag_t)ECHO;
  MUST(tcsetattr(master, TCSANOW, &modes));
  MUST(ioctl(master, TIOCPKT, &on));
}
static void check_unopened(void) {
  struct pollfd state = {.fd = master, .events = POLLIN};
  CHECK(poll(&state, 1, 0) == 0, "the master has hung up");
  MUST(slave = open(ptsname(master), O_RDWR | O_NOCTTY));
  struct termios now;
  MUST(tcgetattr(slave, &now));
  CHECK(now.c_lflag == modes.c_lflag, "modes");
  put_bytes(slave, "x");
  arrives(master);
  char data[9];
  CHECK(read(master, data, 9) == 2 && data[0] == TIOCPKT_DATA, "packet");
}
static void closed_master(void) {
  both_ways();
  MUST(close(master));
}
static void check_closed_master(void) {
  char now;
  struct pollfd state = {.fd = slave, .events = POLLIN};
  CHECK(poll(&state, 1, 0) == 1 && (state.revents & POLLHUP), "%x", state.revents);
  CHECK(read(slave, &now, 1) == 0, "read");
  CHECK(write(slave, "x", 1) == -1 && errno == EIO, "write: %s", strerror(errno));
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
      {"permissions", permissions, check_permissions},
      {"lines", lines, check_lines},
      {"output", output, check_output},
      {"both_ways", both_ways, check_both_ways},
      {"begun", begun, check_begun},
      {"ends", ends, check_ends},
      {"lines_later", lines_later, check_lines_later},
      {"long_lines", long_lines, check_long_lines},
      {"stopped", stopped, check_stopped},
      {"stopped_by_key", stopped_by_key, check_stopped_by_key},
      {"stopped_master", stopped_master, check_stopped_master},
      {"settings", settings, check_settings},
      {"exclusive", exclusive, check_exclusive},
      {"packets", packets, check_packets},
      {"told", told, check_told},
      {"told_of_flush", told_of_flush, check_told_of_flush},
      {"blocked_reader", blocked_reader, check_blocked_reader},
      {"closed_slave", closed_slave, check_closed_slave},
      {"last_words", last_words, check_last_words},
      {"unopened", unopened, check_unopened},
      {"closed_master", closed_master, check_closed_master},
      {"controlling", controlling, check_controlling},
      {NULL, NULL, NULL}};
  return run_subject(argc, argv, subjects);
}
