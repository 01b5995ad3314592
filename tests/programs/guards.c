// usage: guards pages|install|kept|shared|behind|sealed|growsdown. What must fault still faults, and what is beside it is
// intact.
//   pages      PROT_NONE pages beside used ones, as under a thread's stack; content behind PROT_NONE
//              survives
//   install    MADV_GUARD_INSTALL: guard markers inside a mapping, invisible in /proc/PID/maps, EIO
//              in /proc/PID/mem; one of them is removed in the end
//   kept       the same, and none is removed
//   shared     guard markers in shared memory and in a mapping of a file
//   behind     one in shared memory, with content behind it
//   sealed     mseal: neither protection nor place can be changed
//   growsdown  a MAP_GROWSDOWN mapping still grows
#include "selfcheck.h"

#include <fcntl.h>
#include <setjmp.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

enum { PAGE = 4096, MSEAL = 462 };
static sigjmp_buf escape;

static void on_fault(int number, siginfo_t* info, void* context) {
  (void)number, (void)info, (void)context;
  siglongjmp(escape, 1);
}

static int faults(volatile unsigned char* address) {
  if (sigsetjmp(escape, 1)) return 1;
  *address = 1;
  return 0;
}

static void* thread_stack(void* guard_address) {
  pthread_attr_t attributes;
  void* low;
  size_t size, guard;
  pthread_getattr_np(pthread_self(), &attributes);
  pthread_attr_getstack(&attributes, &low, &size);
  pthread_attr_getguardsize(&attributes, &guard);
  pthread_attr_destroy(&attributes);
  __atomic_store_n((char**)guard_address, (char*)low - guard, __ATOMIC_SEQ_CST);
  for (;;) pause();
  return NULL;
}

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: guards pages|install|kept|shared|behind|sealed|growsdown");
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  MUST(sigaction(SIGSEGV, &action, NULL));
  MUST(sigaction(SIGBUS, &action, NULL));
  seed();
  if (!strcmp(argv[1], "pages")) {
    unsigned char* area =
        mmap(NULL, 9 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(area);
    fill(area, 9 * PAGE, seed());
    MUST(mprotect(area + 3 * PAGE, 3 * PAGE, PROT_NONE));
    pthread_t thread;
    char* guard = NULL;
    CHECK(!pthread_create(&thread, NULL, thread_stack, &guard), "pthread_create");
    while (!__atomic_load_n(&guard, __ATOMIC_SEQ_CST)) sched_yield();
    ready();
    wait_line();
    CHECK(faults((unsigned char*)guard + 8), "the thread's stack guard at %p is gone",
          (void*)guard);
    for (int page = 3; page < 6; page++)
      CHECK(faults(area + page * PAGE + 5), "PROT_NONE page %d is writable", page);
    MUST(mprotect(area + 3 * PAGE, 3 * PAGE, PROT_READ));
    CHECK(first_difference(area, 9 * PAGE, seed()) < 0, "content at %ld",
          first_difference(area, 9 * PAGE, seed()));
  } else if (!strcmp(argv[1], "sealed")) {
    unsigned char* area =
        mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(area);
    fill(area, 4 * PAGE, seed());
    MUST(mprotect(area + 2 * PAGE, PAGE, PROT_READ));
    if (syscall(MSEAL, area + PAGE, 2 * PAGE, 0UL)) SKIP("no mseal: %s", strerror(errno));
    ready();
    wait_line();
    CHECK(first_difference(area, 4 * PAGE, seed()) < 0, "content");
    for (int page = 0; page < 4; page++) {
      int sealed = page == 1 || page == 2;
      int result = mprotect(area + page * PAGE, PAGE, PROT_READ);
      CHECK(sealed ? result == -1 && errno == EPERM : !result, "page %d can%s be changed", page,
            result ? "not" : "");
      CHECK(!sealed || munmap(area + page * PAGE, PAGE), "sealed page %d is gone", page);
    }
    CHECK(faults(area + 2 * PAGE + 8) && !faults(area + PAGE + 8), "protections");
  } else if (!strcmp(argv[1], "behind")) {
    unsigned char* area =
        mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(area);
    fill(area, 3 * PAGE, seed());
    if (madvise(area + 2 * PAGE, PAGE, MADV_GUARD_INSTALL))
      SKIP("no MADV_GUARD_INSTALL in shared memory: %s", strerror(errno));
    ready();
    wait_line();
    CHECK(faults(area + 2 * PAGE), "the guard is gone");
    CHECK(first_difference(area, 2 * PAGE, seed()) < 0, "content");
  } else if (!strcmp(argv[1], "shared")) {
    unsigned char* area =
        mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(area);
    fill(area, 2 * PAGE, seed());
    const int fd = open("/proc/self/exe", O_RDONLY);
    unsigned char* file = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    MUST(file);
    if (madvise(area + 2 * PAGE, PAGE, MADV_GUARD_INSTALL) ||
        madvise(file + PAGE, PAGE, MADV_GUARD_INSTALL))
      SKIP("no MADV_GUARD_INSTALL in shared memory: %s", strerror(errno));
    ready();
    wait_line();
    CHECK(faults(area + 2 * PAGE), "the guard in shared memory is gone");
    CHECK(faults(file + PAGE), "the guard in a mapping of a file is gone");
    CHECK(!faults(area + 3 * PAGE) && !faults(file), "a page beside a guard faults");
    CHECK(first_difference(area, 2 * PAGE, seed()) < 0, "content");
    MUST(madvise(area + 2 * PAGE, PAGE, MADV_GUARD_REMOVE));
    CHECK(!faults(area + 2 * PAGE), "the guard stays");
  } else if (!strcmp(argv[1], "install") || !strcmp(argv[1], "kept")) {
    unsigned char* area =
        mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(area);
    fill(area, 64 * PAGE, seed());
    if (madvise(area + 10 * PAGE, 4 * PAGE, MADV_GUARD_INSTALL))
      SKIP("no MADV_GUARD_INSTALL: %s", strerror(errno));
    MUST(madvise(area + 40 * PAGE, PAGE, MADV_GUARD_INSTALL));
    ready();
    wait_line();
    for (int page = 0; page < 64; page++) {
      int guarded = (page >= 10 && page < 14) || page == 40;
      if (guarded) {
        CHECK(faults(area + page * PAGE), "guard page %d is gone", page);
      } else {
        for (size_t i = 0; i < PAGE / 8; i++) {
          size_t index = (size_t)page * (PAGE / 8) + i;
          CHECK(((uint64_t*)area)[index] == pattern(seed(), index), "content of page %d", page);
        }
      }
    }
    if (!strcmp(argv[1], "install")) {
      MUST(madvise(area + 10 * PAGE, 4 * PAGE, MADV_GUARD_REMOVE));
      CHECK(!faults(area + 11 * PAGE), "a removed guard still faults");
    }
  } else {
    selfcheck_start_bystanders();  // their stacks would fill the room
    // It grows only while the kernel's guard gap (256 pages) to the mapping below it is free.
    size_t room = 16 << 20;
    unsigned char* area = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(area);
    MUST(munmap(area, room));
    area = mmap(area + room - 32 * PAGE, 16 * PAGE, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, -1, 0);
    MUST(area);
    fill(area, 16 * PAGE, seed());
    unsigned char* touched = area - 3 * PAGE;
    ready();
    wait_line();
    CHECK(first_difference(area, 16 * PAGE, seed()) < 0, "content");
    CHECK(!faults(touched), "a MAP_GROWSDOWN mapping no longer grows");
    CHECK(first_nonzero(touched + 8, PAGE - 8) < 0, "grown memory is not zero");
  }
  return pass();
}
