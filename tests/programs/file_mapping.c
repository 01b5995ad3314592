// usage: file_mapping shared|readonly|private FILE. A mapping of a user's file (three pages at
// least, the descriptor is closed).
//   shared    MAP_SHARED, writable: one page written before the save, one after the restore
//   readonly  MAP_SHARED, only read
//   private   MAP_PRIVATE: one page modified, the others the file's content at the save
// The test changes or deletes FILE meanwhile, and looks at FILE afterwards.
#include "selfcheck.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { PAGE = 4096 };

int main(int argc, char** argv) {
  CHECK(argc == 3, "usage: file_mapping shared|readonly|private FILE");
  const char* how = argv[1];
  int shared = strcmp(how, "private") != 0, readonly = !strcmp(how, "readonly");
  int fd = open(argv[2], !strcmp(how, "shared") ? O_RDWR : O_RDONLY);
  MUST(fd);
  struct stat status;
  MUST(fstat(fd, &status));
  size_t bytes = ((size_t)status.st_size + PAGE - 1) & ~(size_t)(PAGE - 1);
  CHECK(bytes >= 3 * PAGE, "three pages at least");
  unsigned char* area = mmap(NULL, bytes, PROT_READ | (readonly ? 0 : PROT_WRITE),
                             shared ? MAP_SHARED : MAP_PRIVATE, fd, 0);
  MUST(area);
  close(fd);
  if (!readonly) fill(area + PAGE, PAGE, seed());
  unsigned char* copy = malloc(bytes);
  memcpy(copy, area, bytes);  // also puts every page into the page table
  ready();
  wait_line();
  for (size_t i = 0; i < bytes; i++)
    CHECK(area[i] == copy[i], "byte %zu is %#x, was %#x", i, area[i], copy[i]);
  if (!readonly) {
    fill(area + 2 * PAGE, 64, seed() + 1);
    CHECK(first_difference(area + 2 * PAGE, 64, seed() + 1) < 0, "a store was lost");
    if (shared) MUST(msync(area, bytes, MS_SYNC));
  }
  return pass();
}
