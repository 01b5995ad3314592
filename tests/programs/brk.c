// The heap made by brk: content, position, growth without a gap, shrinking, and the label [heap] in
// /proc/self/maps.
#include "selfcheck.h"

enum { BYTES = 1 << 20 };

static void check_label(void* address, const char* label) {
  char line[512];
  FILE* maps = fopen("/proc/self/maps", "r");
  CHECK(maps, "maps");
  while (fgets(line, sizeof line, maps)) {
    unsigned long start, end;
    CHECK(sscanf(line, "%lx-%lx", &start, &end) == 2, "maps: %s", line);
    if ((unsigned long)address < start || (unsigned long)address >= end) continue;
    CHECK(strstr(line, label), "%p should be in %s: %s", address, label, line);
    fclose(maps);
    return;
  }
  FAIL("%p is not mapped", address);
}

int main(void) {
  seed();
  selfcheck_start_bystanders();
  free(malloc(50000));
  uint64_t* block = sbrk(BYTES);
  CHECK(block != (void*)-1, "sbrk");
  fill(block, BYTES, seed());
  void* end = sbrk(0);
  ready();
  wait_line();
  check_label(block, "[heap]");
  CHECK(sbrk(0) == end, "the break is %p, was %p", sbrk(0), end);
  CHECK(first_difference(block, BYTES, seed()) < 0, "content");
  void* more = sbrk(BYTES);
  CHECK(more == end, "sbrk grows at %p, not at %p", more, end);
  CHECK(first_nonzero(more, BYTES) < 0, "grown heap is not zero");
  fill(more, BYTES, seed() + 1);
  check_label(more, "[heap]");
  CHECK(sbrk(-BYTES) != (void*)-1 && sbrk(0) == end, "the heap does not shrink");
  CHECK(sbrk(BYTES) == end && first_nonzero(end, BYTES) < 0,
        "shrunk and grown again, it is not zero");
  for (int i = 0; i < 1000; i++) memset(malloc(500), i, 500);
  return pass();
}
