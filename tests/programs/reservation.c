// A sanitizer's reservation: 14 TiB of PROT_NONE and 14 TiB of MAP_NORESERVE with a few pages used.
// It costs nothing in the image (ext4 files end at 16 TiB), and stays mapped as it was.
#include "selfcheck.h"

static const size_t bytes = 14UL << 40;

int main(void) {
  seed();
  unsigned char* none =
      mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  unsigned char* lazy =
      mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (none == MAP_FAILED || lazy == MAP_FAILED) SKIP("cannot reserve 14 TiB: %s", strerror(errno));
  for (int i = 0; i < 7; i++) fill(lazy + ((size_t)i << 41), 4096, seed() + (uint64_t)i);
  fill(lazy + bytes - 4096, 4096, seed() + 7);
  ready();
  wait_line();
  for (int i = 0; i < 7; i++) {
    CHECK(first_difference(lazy + ((size_t)i << 41), 4096, seed() + (uint64_t)i) < 0,
          "content at %d TiB", 2 * i);
    CHECK(first_nonzero(lazy + ((size_t)i << 41) + 4096, 4096) < 0, "content beside %d TiB", 2 * i);
  }
  CHECK(first_difference(lazy + bytes - 4096, 4096, seed() + 7) < 0, "content of the last page");
  void* over = mmap(none + bytes / 2, 4096, PROT_READ,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  CHECK(over == MAP_FAILED && errno == EEXIST, "the reservation is no longer mapped");
  MUST(munmap(none, bytes));
  MUST(munmap(lazy, bytes));
  return pass();
}
