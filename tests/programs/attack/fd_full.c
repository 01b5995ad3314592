// usage: fd_full LIMIT. Every descriptor that the program may have is in use, and stays so.
#include "selfcheck.h"

#include <fcntl.h>
#include <sys/resource.h>

static void check_full(int count, const char* when) {
  errno = 0;
  CHECK(dup(0) == -1 && errno == EMFILE, "%s: dup: %s", when, strerror(errno));
  for (int fd = 0; fd < count; fd++)
    CHECK(fcntl(fd, F_GETFD) >= 0, "%s: %d: %s", when, fd, strerror(errno));
}

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: fd_full LIMIT");
  const int count = atoi(argv[1]);
  const struct rlimit limit = {(rlim_t)count, (rlim_t)count};
  MUST(setrlimit(RLIMIT_NOFILE, &limit));
  int ends[2];
  MUST(pipe(ends));
  while (dup(ends[0]) >= 0) {
  }
  check_full(count, "before");
  ready();
  wait_line();
  check_full(count, "after");
  CHECK(write(ends[1], "x", 1) == 1, "write: %s", strerror(errno));
  char byte = 0;
  CHECK(read(count - 1, &byte, 1) == 1 && byte == 'x', "read: %s", strerror(errno));
  MUST(close(count - 1));
  CHECK(dup(0) == count - 1, "a free one: %s", strerror(errno));
  return pass();
}
