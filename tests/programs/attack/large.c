// usage: large MIB. So much memory of its own, each page another.
#include "selfcheck.h"

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: large MIB");
  const size_t bytes = (size_t)atoi(argv[1]) << 20;
  char* at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(at != MAP_FAILED, "mmap: %s", strerror(errno));
  for (size_t page = 0; page < bytes; page += 4096) fill(at + page, 512, seed() + page);
  ready();
  wait_line();
  for (size_t page = 0; page < bytes; page += 4096)
    CHECK(first_difference(at + page, 512, seed() + page) < 0, "page at %#zx", page);
  return pass();
}
