// usage: memfd_hugetlb SUBJECT, or --list. Files of huge pages without a name, and mappings of such
// pages.
// If the line that ends the wait says "ordinary", the pages must be ordinary ones: then it is only
// their content, and how they are shared, that must be as it was.
#include "fd.h"

#include <linux/magic.h>
#include <linux/memfd.h>
#include <sys/shm.h>
#include <sys/vfs.h>

enum { HUGE_SIZE = 2 << 20, PAGES = 3 };

static int fd = -1, other = -1;
static unsigned char *memory, *second, *own;

// The restore had no huge pages to give.
static int ordinary(void) { return !strcmp(subject_line, "ordinary"); }

static unsigned char* map_at(size_t pages, int flags, int from, size_t page) {
  void* place =
      mmap(NULL, pages * HUGE_SIZE, PROT_READ | PROT_WRITE, flags, from, (off_t)(page * HUGE_SIZE));
  if (place == MAP_FAILED) FAIL("set-up: mmap: %s", strerror(errno));
  return place;
}
static void make(unsigned flags) {
  seed();
  fd = memfd_create("of-huge-pages", MFD_HUGETLB | MFD_HUGE_2MB | flags);
  if (fd < 0) SKIP("memfd_create(MFD_HUGETLB): %s", strerror(errno));
  MUST(ftruncate(fd, PAGES * HUGE_SIZE));
}
static unsigned char* page(unsigned char* mapping, size_t index) {
  return mapping + index * HUGE_SIZE;
}
static void has(unsigned char* mapping, size_t index, uint64_t value) {
  const long where = first_difference(page(mapping, index), HUGE_SIZE, value);
  CHECK(where < 0, "page %zu differs at %ld", index, where);
}

// Whether the kernel backs the mapping with huge pages, by /proc/self/smaps.
static int is_huge(const void* mapping) {
  char line[1000];
  int inside = 0, found = -1;
  FILE* maps = fopen("/proc/self/smaps", "r");
  if (!maps) FAIL("smaps");
  while (found < 0 && fgets(line, sizeof line, maps)) {
    unsigned long start, end, kilobytes;
    if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
      inside = (unsigned long)mapping >= start && (unsigned long)mapping < end;
    if (inside && sscanf(line, "KernelPageSize: %lu kB", &kilobytes) == 1)
      found = kilobytes == HUGE_SIZE / 1024;
  }
  fclose(maps);
  return found;
}
static void has_kind(const void* mapping) {
  CHECK(is_huge(mapping) == !ordinary(), "the mapping %p has %s pages", mapping,
        ordinary() ? "huge" : "ordinary");
}
static void is_of_huge_pages(int file) {
  struct statfs system;
  struct stat status;
  MUST(fstatfs(file, &system));
  MUST(fstat(file, &status));
  CHECK((system.f_type == HUGETLBFS_MAGIC) == !ordinary(), "the file system is %lx",
        (long)system.f_type);
  CHECK(status.st_size == PAGES * HUGE_SIZE, "%ld bytes", (long)status.st_size);
  if (ordinary()) return;
  CHECK(status.st_blksize == HUGE_SIZE, "st_blksize %ld", (long)status.st_blksize);
  CHECK(ftruncate(file, HUGE_SIZE + 4096) == -1 && errno == EINVAL, "half a page");
}

// Three pages, the second of which nobody has ever touched.
static void file(void) {
  make(0);
  unsigned char* once = map_at(PAGES, MAP_SHARED, fd, 0);
  fill(page(once, 0), HUGE_SIZE, seed());
  fill(page(once, 2), HUGE_SIZE, seed() + 2);
  MUST(munmap(once, PAGES * HUGE_SIZE));
  MUST(lseek(fd, 5, SEEK_SET));
}
static void check_file(void) {
  char link[100] = "", from[50];
  is_of_huge_pages(fd);
  snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
  MUST(readlink(from, link, sizeof link - 1));
  CHECK(!strcmp(link, "/memfd:of-huge-pages (deleted)"), "its name is %s", link);
  CHECK(lseek(fd, 0, SEEK_CUR) == 5, "offset");
  memory = map_at(PAGES, MAP_SHARED, fd, 0);
  has(memory, 0, seed());
  CHECK(first_nonzero(page(memory, 1), HUGE_SIZE) < 0, "the page in the middle");
  has(memory, 2, seed() + 2);
  has_kind(memory);
}

// Shared twice, and the second time a part of it only; private, with a page of its own.
static void mapped(void) {
  make(0);
  memory = map_at(PAGES, MAP_SHARED, fd, 0);
  second = map_at(2, MAP_SHARED, fd, 1);
  fill(page(memory, 0), HUGE_SIZE, seed());
  fill(page(memory, 1), HUGE_SIZE, seed() + 1);
  own = map_at(2, MAP_PRIVATE, fd, 0);
  fill(page(own, 1), HUGE_SIZE, seed() + 11);
  // In no page table of ours, but in the file.
  MUST(madvise(memory, PAGES * HUGE_SIZE, MADV_DONTNEED));
}
static void check_mappings(void) {
  has_kind(memory);
  has_kind(second);
  has_kind(own);
  has(memory, 0, seed());
  has(memory, 1, seed() + 1);
  has(second, 0, seed() + 1);
  has(own, 1, seed() + 11);
  page(memory, 1)[7] = 99;
  CHECK(second[7] == 99, "the two mappings are not of one file any more");
  page(second, 1)[9] = 98;
  CHECK(page(memory, 2)[9] == 98, "the two mappings are not of one file any more");
  has(own, 1, seed() + 11);
  page(memory, 0)[100] ^= 1;
  CHECK(own[100] == page(memory, 0)[100], "a private page that was not written to is a copy");
  own[100] ^= 2;
  CHECK(own[100] != page(memory, 0)[100], "a store to the private mapping shows in the file");
}
static void check_mapped(void) {
  check_mappings();
  char now;
  CHECK(pread(fd, &now, 1, HUGE_SIZE + 7) == 1 && now == 99, "not seen in the file");
  is_of_huge_pages(fd);
}

static void closed(void) {
  mapped();
  MUST(close(fd));
}

// A read-only second description; what was reserved must be there for stores after the restore.
static void sealed(void) {
  char link[50];
  make(MFD_ALLOW_SEALING);
  memory = map_at(PAGES, MAP_SHARED, fd, 0);
  fill(memory, HUGE_SIZE, seed());
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  MUST(other = open(link, O_RDONLY));
  MUST(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
}
static void check_sealed(void) {
  CHECK(fcntl(fd, F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_GROW), "seals %x",
        fcntl(fd, F_GET_SEALS));
  CHECK(ftruncate(fd, HUGE_SIZE) == -1 && errno == EPERM, "it may shrink");
  has(memory, 0, seed());
  fill(memory, PAGES * HUGE_SIZE, seed() + 5);
  second = mmap(NULL, PAGES * HUGE_SIZE, PROT_READ, MAP_SHARED, other, 0);
  CHECK(second != MAP_FAILED, "mmap: %s", strerror(errno));
  CHECK(!memcmp(memory, second, PAGES * HUGE_SIZE), "the two descriptors are of two files");
  CHECK(mmap(NULL, HUGE_SIZE, PROT_WRITE, MAP_SHARED, other, 0) == MAP_FAILED && errno == EACCES,
        "the second can be written");
  has_kind(memory);
}

// Never reserved: the page that was touched is there, whatever is in it.
static void unreserved(void) {
  make(0);
  own = map_at(1, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
  fill(own, HUGE_SIZE, seed());
}
static void check_unreserved(void) {
  has_kind(own);
  has(own, 0, seed());
}

// Without a file.
static void anonymous(void) {
  seed();
  own = map_at(1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (int)MFD_HUGE_2MB, -1, 0);
  fill(own, HUGE_SIZE, seed());
}
static void check_anonymous(void) {
  has_kind(own);
  has(own, 0, seed());
}
static void anonymous_unreserved(void) {
  seed();
  own = map_at(PAGES, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
  fill(own, HUGE_SIZE, seed());
  page(own, 1)[0] = page(own, 2)[0] = 0;  // touched, so they are there
}
static void check_anonymous_unreserved(void) {
  check_anonymous();
  CHECK(first_nonzero(page(own, 1), 2 * HUGE_SIZE) < 0, "the pages of zeros");
}
static void shared(void) {
  seed();
  memory = map_at(PAGES, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | (int)MFD_HUGE_2MB, -1, 0);
  fill(page(memory, 0), HUGE_SIZE, seed());
  fill(page(memory, 1), HUGE_SIZE, seed() + 1);
  MUST(madvise(memory, PAGES * HUGE_SIZE, MADV_DONTNEED));
}
static void check_shared(void) {
  has_kind(memory);
  has(memory, 0, seed());
  has(memory, 1, seed() + 1);
  pid_t child = fork();
  MUST(child);
  if (!child) {
    page(memory, 2)[5] = 97;
    _exit(0);
  }
  int status;
  MUST(waitpid(child, &status, 0));
  CHECK(page(memory, 2)[5] == 97, "not shared with a child");
}
static void shared_parts(void) {
  shared();
  MUST(mprotect(page(memory, 1), HUGE_SIZE, PROT_READ));
}
static void check_shared_parts(void) {
  check_shared();
  has_kind(page(memory, 1));
}
// The beginning is gone: it cannot be made again by one call.
static void shared_rest(void) {
  shared();
  MUST(munmap(memory, HUGE_SIZE));
}
static void check_shared_rest(void) {
  has(memory, 1, seed() + 1);
  fill(page(memory, 1), 2 * HUGE_SIZE, seed() + 3);
}
static void system_v(void) {
  seed();
  const int id = shmget(IPC_PRIVATE, PAGES * HUGE_SIZE - 4096, IPC_CREAT | SHM_HUGETLB | 0600);
  if (id < 0) SKIP("shmget(SHM_HUGETLB): %s", strerror(errno));
  memory = shmat(id, NULL, 0);
  MUST(memory);
  MUST(shmctl(id, IPC_RMID, NULL));
  fill(page(memory, 0), HUGE_SIZE, seed());
  fill(page(memory, 1), HUGE_SIZE, seed() + 1);
  MUST(madvise(memory, PAGES * HUGE_SIZE, MADV_DONTNEED));
}
static void check_system_v(void) {
  has(memory, 0, seed());
  has(memory, 1, seed() + 1);
  fill(memory, PAGES * HUGE_SIZE, seed() + 3);
}

static const struct subject subjects[] = {
    {"file", file, check_file},
    {"mapped", mapped, check_mapped},
    {"closed", closed, check_mappings},
    {"sealed", sealed, check_sealed},
    {"unreserved", unreserved, check_unreserved},
    {"anonymous", anonymous, check_anonymous},
    {"anonymous_unreserved", anonymous_unreserved, check_anonymous_unreserved},
    {"shared", shared, check_shared},
    {"shared_parts", shared_parts, check_shared_parts},
    {"shared_rest", shared_rest, check_shared_rest},
    {"system_v", system_v, check_system_v},
    {NULL, NULL, NULL}};

int main(int argc, char** argv) { return run_subject(argc, argv, subjects); }
