// Makes more calls than fit into a chunk of a recording, says READY, and waits for a line.
// ckpt-build: no-nopie no-static
#include <stdio.h>
#include <unistd.h>

int main(void) {
  for (int i = 0; i < 4000; ++i) getppid();
  puts("READY");
  fflush(stdout);
  return getchar() == EOF;
}
