// A child between vfork and exec shares the parent's memory and holds it up: neither can be saved.
// The child prints READY and its pid: `CHILD <pid>`, then blocks. After the line it execs `true`,
// and the parent goes on. ckpt-build: no-static
#include "selfcheck.h"

#include <sys/wait.h>

int main(void) {
  seed();
  pid_t child = vfork();
  if (!child) {
    say("CHILD %d", (int)getpid());
    say("READY %s", selfcheck_nonce);
    wait_line();
    execl("/bin/true", "true", (char*)NULL);
    _exit(9);
  }
  MUST(child);
  int status;
  MUST(waitpid(child, &status, 0));
  CHECK(status == 0, "the child ended with %#x", status);
  say("PASS %s", selfcheck_nonce);
  return 0;
}
