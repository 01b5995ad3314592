// Stops at which no system call may be injected: in a fork, in a vfork, at a system call.
//
// usage: e2e_fork fork|vfork
// Prints READY, the nonce, PASS. Exit status 10.
//
// ckpt-build: no-static no-nopie
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "e2e_common.h"

int main(int argc, char** argv) {
  draw_nonce();
  say("READY");
  bool with_vfork = argc > 1 && std::string(argv[1]) == "vfork";
  pid_t child = with_vfork ? vfork() : fork();
  if (child < 0) {
    fail("fork");
  }
  if (child == 0) {
    if (with_vfork) {
      execl("/bin/true", "true", nullptr);
      _exit(1);
    }
    _exit(11);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status) ||
      WEXITSTATUS(status) != (with_vfork ? 0 : 11)) {
    fail("waitpid");
  }
  say_nonce();
  say("PASS");
  return 10;
}
