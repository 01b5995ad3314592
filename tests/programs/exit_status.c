// usage: exit_status N | exit_status signal N. Ends with exit status N, or by signal N.
#include "selfcheck.h"

#include <sys/resource.h>

int main(int argc, char** argv) {
  CHECK(argc >= 2, "usage: exit_status N | signal N");
  struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  ready();
  wait_line();
  pass();
  if (argc == 3) {
    signal(atoi(argv[2]), SIG_DFL);
    raise(atoi(argv[2]));
    return 99;
  }
  exit(atoi(argv[1]));
}
