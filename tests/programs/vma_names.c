// Memory that the program has given names (PR_SET_VMA_ANON_NAME), as Go's and Android's allocators
// do. Where the kernel knows no names the memory itself is looked at.
#include "selfcheck.h"

#include <sys/mman.h>

enum { BYTES = 1 << 20 };
static unsigned char *own, *shared;

static int name_it(void* memory, const char* name) {
  return !prctl(0x53564d41, 0, memory, BYTES, name);
}
static unsigned char* map(int how) {
  unsigned char* memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, how | MAP_ANONYMOUS, -1, 0);
  MUST(memory);
  fill(memory, BYTES / 2, seed());
  return memory;
}
static int is_called(const void* memory, const char* name) {
  char line[600];
  int found = 0;
  FILE* maps = fopen("/proc/self/maps", "r");
  CHECK(maps, "maps");
  while (fgets(line, sizeof line, maps))
    if (strtoul(line, NULL, 16) == (unsigned long)memory) found = strstr(line, name) != NULL;
  fclose(maps);
  return found;
}

int main(void) {
  own = map(MAP_PRIVATE);
  shared = map(MAP_SHARED);
  const int named = name_it(own, "the arena") && name_it(shared, "the table");
  if (named)
    CHECK(is_called(own, "[anon:the arena]") && is_called(shared, "[anon_shmem:the table]"),
          "set-up: the names");
  ready();
  wait_line();
  CHECK(first_difference(own, BYTES / 2, seed()) < 0, "the memory");
  CHECK(first_difference(shared, BYTES / 2, seed()) < 0, "the shared memory");
  CHECK(first_nonzero(own + BYTES / 2, BYTES / 2) < 0, "the rest of the memory");
  // Under another kernel there may be none.
  if (named && name_it(map(MAP_PRIVATE), "another")) {
    CHECK(is_called(own, "[anon:the arena]"), "the name of the memory");
    CHECK(is_called(shared, "[anon_shmem:the table]"), "the name of the shared memory");
  }
  return pass();
}
