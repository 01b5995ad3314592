// stdin, stdout and stderr through stdio: half a line in stdout's buffer at the save appears once,
// after the restore. Prints as it goes; the test compares the whole output.
#include "selfcheck.h"

int main(void) {
  char line[256];
  ready();
  printf("half a line %s, ", selfcheck_nonce);  // stays in the buffer: stdout is no terminal
  wait_line();
  printf("the other half\n");
  fprintf(stderr, "to stderr %s\n", selfcheck_nonce);
  while (fgets(line, sizeof line, stdin)) printf("echo %s", line);
  fflush(stdout);
  return pass();
}
