// Memory that the kernel may drop (MAP_DROPPABLE), in which C libraries keep the state of their
// random numbers: each page is whole or zeros. Says how many are whole, and the next random number.
#include "selfcheck.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif

enum { PAGE = 4096, PAGES = 8 };

int main(void) {
  seed();
  unsigned char* area =
      mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_DROPPABLE | MAP_ANONYMOUS, -1, 0);
  if (area == MAP_FAILED && errno == EINVAL) SKIP("this kernel has no MAP_DROPPABLE");
  MUST(area);
  fill(area, PAGES * PAGE, seed());
  ready();
  wait_line();
  int whole = 0;
  for (int page = 0; page < PAGES; page++) {
    unsigned char* at = area + page * PAGE;
    if (!memcmp(at, &(uint64_t){pattern(seed(), (uint64_t)page * PAGE / 8)}, 8))
      whole++;
    else
      CHECK(first_nonzero(at, PAGE) < 0, "page %d is neither whole nor zeros", page);
  }
  fill(area, PAGES * PAGE, seed() + 1);
  CHECK(first_difference(area, PAGES * PAGE, seed() + 1) < 0, "cannot be used again");
  uint64_t number;
  CHECK(getrandom(&number, sizeof number, 0) == sizeof number, "getrandom");
  say("WHOLE %d", whole);
  say("NUMBER %016lx", (unsigned long)number);
  return pass();
}
