// usage: untouched untouched|zeros|random [MIB]. Memory that was never touched, or holds only
// zeros, takes no bytes in an image and no time; it is there after the restore. `random` is the
// counter-example: incompressible memory.
#include "selfcheck.h"

int main(int argc, char** argv) {
  CHECK(argc >= 2, "usage: untouched untouched|zeros|random [MIB]");
  size_t bytes = (size_t)(argc > 2 ? atoi(argv[2]) : 1024) << 20;
  seed();
  unsigned char* area =
      mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (area == MAP_FAILED) SKIP("no %zu MiB: %s", bytes >> 20, strerror(errno));
  if (!strcmp(argv[1], "zeros"))
    for (size_t at = 0; at < bytes; at += 4096) *(volatile unsigned char*)(area + at) = 0;
  if (!strcmp(argv[1], "random")) fill(area, bytes, seed());
  if (strcmp(argv[1], "random")) fill(area + bytes / 2, 4096, seed());  // one page that counts
  ready();
  wait_line();
  if (!strcmp(argv[1], "random")) {
    CHECK(first_difference(area, bytes, seed()) < 0, "content at %ld",
          first_difference(area, bytes, seed()));
    return pass();
  }
  CHECK(first_difference(area + bytes / 2, 4096, seed()) < 0, "the one page that counts");
  for (size_t at = 0; at < bytes; at += 1 << 20)
    if (at != bytes / 2) CHECK(first_nonzero(area + at, 4096) < 0, "content at %zu MiB", at >> 20);
  return pass();
}
