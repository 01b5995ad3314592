// Memory comes back bit for bit: data, bss, heap, anonymous mappings with holes of zero pages,
// read-only pages, and pages whose content looks like nothing but bytes (0xCC is the breakpoint
// instruction: it must survive too).
#include "selfcheck.h"

enum { PAGE = 4096, REGION_PAGES = 300, HEAP_BLOCKS = 200 };

static uint64_t initialised_data[1024] = {1, 2, 3};
static uint64_t zero_data[4096];
static const char constants[] = "constants stay where the executable put them";

// Every third page filled, every third touched with zeros, every third never touched; the last one
// is 0xCC throughout.
static void fill_region(unsigned char* region, uint64_t region_seed) {
  for (size_t page = 0; page < REGION_PAGES; page++) {
    if (page % 3 == 0) fill(region + page * PAGE, PAGE, region_seed + page);
    if (page % 3 == 1) memset(region + page * PAGE, 0, PAGE);
  }
  memset(region + (REGION_PAGES - 1) * PAGE, 0xCC, PAGE);
}

static void check_region(const unsigned char* region, uint64_t region_seed, const char* what) {
  for (size_t page = 0; page + 1 < REGION_PAGES; page++) {
    const unsigned char* start = region + page * PAGE;
    long at = page % 3 == 0 ? first_difference(start, PAGE, region_seed + page)
                            : first_nonzero(start, PAGE);
    CHECK(at < 0, "%s: page %zu differs at byte %ld", what, page, at);
  }
  for (size_t i = 0; i < PAGE; i++)
    CHECK(region[(REGION_PAGES - 1) * PAGE + i] == 0xCC, "%s: byte %zu of the 0xCC page", what, i);
}

int main(void) {
  seed();
  unsigned char* writable =
      mmap(NULL, REGION_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  unsigned char* readonly =
      mmap(NULL, REGION_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(writable);
  MUST(readonly);
  fill_region(writable, seed() + 1);
  fill_region(readonly, seed() + 2);
  MUST(mprotect(readonly, REGION_PAGES * PAGE, PROT_READ));
  fill(initialised_data, sizeof initialised_data, seed() + 3);
  fill(zero_data, sizeof zero_data / 2, seed() + 4);  // the other half of .bss stays untouched
  unsigned char* heap[HEAP_BLOCKS];
  for (size_t i = 0; i < HEAP_BLOCKS; i++) {
    heap[i] = malloc(64 + i * 40);
    fill(heap[i], 64 + i * 40, seed() + 5 + i);
  }

  ready();
  wait_line();

  check_region(writable, seed() + 1, "anonymous memory");
  check_region(readonly, seed() + 2, "read-only memory");
  CHECK(first_difference(initialised_data, sizeof initialised_data, seed() + 3) < 0, ".data");
  CHECK(first_difference(zero_data, sizeof zero_data / 2, seed() + 4) < 0, ".bss");
  CHECK(first_nonzero((char*)zero_data + sizeof zero_data / 2, sizeof zero_data / 2) < 0,
        "untouched .bss");
  CHECK(strlen(constants) == 44, ".rodata");
  for (size_t i = 0; i < HEAP_BLOCKS; i++) {
    CHECK(first_difference(heap[i], 64 + i * 40, seed() + 5 + i) < 0, "heap block %zu", i);
    free(heap[i]);
  }
  void* again = malloc(100000);  // the allocator's own structures are intact
  CHECK(again, "malloc");
  free(again);
  return pass();
}
