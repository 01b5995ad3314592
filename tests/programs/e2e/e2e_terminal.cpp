// Talks to its terminal, which it may have put into raw mode, and says what it sees.
//
// usage: e2e_terminal cooked|raw
// Ends at the line or key `q`; prints the nonce, PASS. Exit status 4.
//
// ckpt-build: no-static no-nopie
#include <termios.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "e2e_common.h"

namespace {

void say_foreground() {
  std::printf("foreground %s\r\n", tcgetpgrp(STDIN_FILENO) == getpgrp() ? "yes" : "no");
  std::fflush(stdout);
}

void talk_in_lines() {
  char line[256];
  while (std::fgets(line, sizeof line, stdin) != nullptr) {
    line[std::strcspn(line, "\n")] = 0;
    std::printf("line <%s>\r\n", line);
    say_foreground();
    if (std::strcmp(line, "q") == 0) {
      return;
    }
  }
  fail("end of file");
}

// Without ISIG even Ctrl-C is a key; without ICANON it comes without a newline.
void talk_in_keys() {
  termios modes{};
  if (tcgetattr(STDIN_FILENO, &modes) != 0) {
    fail("tcgetattr");
  }
  termios raw = modes;
  cfmakeraw(&raw);
  if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) != 0) {
    fail("tcsetattr");
  }
  std::printf("RAW\r\n");
  std::fflush(stdout);
  char key = 0;
  while (key != 'q') {
    if (read(STDIN_FILENO, &key, 1) != 1) {
      fail("read");
    }
    std::printf("key %02x\r\n", static_cast<unsigned char>(key));
    std::fflush(stdout);
  }
  tcsetattr(STDIN_FILENO, TCSANOW, &modes);
}

}  // namespace

int main(int argc, char** argv) {
  draw_nonce();
  say("READY");
  if (argc > 1 && std::string(argv[1]) == "raw") {
    talk_in_keys();
  } else {
    talk_in_lines();
  }
  say_nonce();
  say("PASS");
  return 4;
}
