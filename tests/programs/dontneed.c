// usage: dontneed [FILE]. Anonymous memory is anonymous again: after madvise(MADV_DONTNEED) it
// reads as zeros, which allocators (jemalloc, Go, glibc's arenas) rely on. A restore that maps the
// image privately fails here. A private file mapping reads as its file again: FILE, if given.
#include "selfcheck.h"

#include <fcntl.h>

enum { PAGE = 4096, PAGES = 64 };
static unsigned char bss[PAGES * PAGE] __attribute__((aligned(PAGE)));

static void check_dropped(unsigned char* area, uint64_t area_seed, const char* what) {
  CHECK(first_difference(area, PAGES * PAGE, area_seed) < 0, "%s: content", what);
  MUST(madvise(area, PAGES * PAGE, MADV_DONTNEED));
  CHECK(first_nonzero(area, PAGES * PAGE) < 0, "%s: not zero at %ld after MADV_DONTNEED", what,
        first_nonzero(area, PAGES * PAGE));
  fill(area, PAGES * PAGE, area_seed + 9);
  CHECK(first_difference(area, PAGES * PAGE, area_seed + 9) < 0, "%s: cannot be used again", what);
}

int main(int argc, char** argv) {
  seed();
  unsigned char* anonymous =
      mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  unsigned char* heap =
      (unsigned char*)(((uintptr_t)sbrk((PAGES + 1) * PAGE) + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
  unsigned char *file = NULL, expected[PAGE];
  MUST(anonymous);
  fill(anonymous, PAGES * PAGE, seed() + 1);
  fill(heap, PAGES * PAGE, seed() + 2);
  fill(bss, PAGES * PAGE, seed() + 3);
  if (argc > 1) {
    int fd = open(argv[1], O_RDONLY);
    MUST(fd);
    file = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    MUST(file);
    memcpy(expected, file, PAGE);
    memset(file, 0x5a, PAGE);
    close(fd);
  }
  ready();
  wait_line();
  check_dropped(anonymous, seed() + 1, "anonymous memory");
  check_dropped(heap, seed() + 2, "heap");
  check_dropped(bss, seed() + 3, ".bss");
  if (file) {
    for (int i = 0; i < PAGE; i++)
      CHECK(file[i] == 0x5a, "modified page of a private file mapping");
    MUST(madvise(file, PAGE, MADV_DONTNEED));
    CHECK(!memcmp(file, expected, PAGE),
          "after MADV_DONTNEED a private file mapping does not read as its file");
  }
  return pass();
}
