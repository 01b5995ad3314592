// usage: shared_anonymous once|twice|partial|unmapped|private. MAP_SHARED anonymous memory is one
// object: what is written through one mapping shows in the other, and in a forked child. `twice`
// maps it a second time (mremap with an old size of 0), `partial` maps its second half only, at
// another offset. `private` maps it a second time with MAP_PRIVATE, for which the kernel wants a
// privilege.
#include "selfcheck.h"

#include <fcntl.h>
#include <sys/wait.h>

enum { PAGE = 4096, BYTES = 64 * PAGE };

// Own pages, pages of the object that are in no page table for it, and pages that are nowhere.
static unsigned char* map_privately(unsigned char* memory) {
  char path[100];
  snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", (unsigned long)memory,
           (unsigned long)(memory + BYTES));
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) SKIP("%s: %s", path, strerror(errno));
  unsigned char* mapped = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  MUST(mapped);
  MUST(close(fd));
  mapped[5 * PAGE] ^= 0xff;
  return mapped;
}
static void check_private(unsigned char* mapped) {
  mapped[5 * PAGE] ^= 0xff;
  CHECK(first_difference(mapped, BYTES / 2, seed()) < 0, "content of the private mapping");
  CHECK(first_difference(mapped + 48 * PAGE, PAGE, seed() + 1) < 0, "its page 48");
  CHECK(first_nonzero(mapped + 32 * PAGE, 16 * PAGE) < 0, "its untouched pages");
}

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: shared_anonymous once|twice|partial");
  seed();
  unsigned char *first =
                    mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
                *second = NULL;
  MUST(first);
  unsigned char* private = NULL;
  size_t offset = 0;
  fill(first, BYTES / 2, seed());  // the second half is never touched, except:
  fill(first + 48 * PAGE, PAGE, seed() + 1);
  if (!strcmp(argv[1], "twice")) MUST(second = mremap(first, 0, BYTES, MREMAP_MAYMOVE));
  if (!strcmp(argv[1], "partial")) {
    offset = BYTES / 2;
    MUST(second = mremap(first + offset, 0, BYTES / 2, MREMAP_MAYMOVE));
    MUST(mprotect(second, PAGE, PROT_READ));  // another protection makes two mappings of it
  }
  if (!strcmp(argv[1], "unmapped")) {
    // The pages in no page table of ours: the object still has them.
    MUST(madvise(first, BYTES, MADV_DONTNEED));
  }
  if (!strcmp(argv[1], "private")) private = map_privately(first);
  ready();
  wait_line();
  if (private) check_private(private);
  CHECK(first_difference(first, BYTES / 2, seed()) < 0, "content");
  CHECK(first_difference(first + 48 * PAGE, PAGE, seed() + 1) < 0, "content of page 48");
  CHECK(first_nonzero(first + 32 * PAGE, 16 * PAGE) < 0, "untouched pages");
  if (second) {
    unsigned char* same = first + offset;
    CHECK(!memcmp(second, same, BYTES / 2), "two mappings of one object differ");
    for (int i = 2; i < 20; i++) {
      same[i * PAGE + 7] = (unsigned char)(i * 3);
      CHECK(second[i * PAGE + 7] == i * 3, "page %d is no longer shared between the two mappings",
            i);
      second[i * PAGE + 9] = (unsigned char)(i * 5);
      CHECK(same[i * PAGE + 9] == i * 5, "page %d is no longer shared between the two mappings", i);
    }
  }
  pid_t child = fork();
  MUST(child);
  if (!child) {
    first[5] = 99;
    (second ? second : first)[3 * PAGE + 11] = 98;
    _exit(0);
  }
  int status;
  MUST(waitpid(child, &status, 0));
  CHECK(first[5] == 99 && (second ? first + offset : first)[3 * PAGE + 11] == 98,
        "not shared with a child");
  // MADV_DONTNEED on shared memory drops the page table's view only: the object keeps its content.
  fill(first, BYTES, seed() + 2);
  MUST(madvise(first, BYTES, MADV_DONTNEED));
  CHECK(first_difference(first, BYTES, seed() + 2) < 0, "MADV_DONTNEED dropped shared content");
  return pass();
}
