// The main thread's stack: content, the label [stack], and growth: recursion goes far below what
// was mapped at the save, and below it all the kernel's guard gap still ends the program.
#include "selfcheck.h"

#include <sys/resource.h>
#include <sys/wait.h>

static void check_label(void* address) {
  char line[512];
  FILE* maps = fopen("/proc/self/maps", "r");
  CHECK(maps, "maps");
  while (fgets(line, sizeof line, maps)) {
    unsigned long start, end;
    if (sscanf(line, "%lx-%lx", &start, &end) == 2 && (unsigned long)address >= start &&
        (unsigned long)address < end) {
      CHECK(strstr(line, "[stack]"), "%p should be in [stack]: %s", address, line);
      fclose(maps);
      return;
    }
  }
  FAIL("%p is not mapped", address);
}

__attribute__((noinline)) static uint64_t recurse(int depth) {
  volatile uint64_t block[8192 / 8];  // two pages a call
  for (size_t i = 0; i < 8192 / 8; i += 64) block[i] = pattern(seed(), (uint64_t)depth);
  uint64_t below = depth ? recurse(depth - 1) : 0;
  for (size_t i = 0; i < 8192 / 8; i += 64)
    CHECK(block[i] == pattern(seed(), (uint64_t)depth), "stack content at depth %d", depth);
  return below + block[0];
}

int main(void) {
  uint64_t block[512];
  fill(block, sizeof block, seed());
  ready();
  wait_line();
  check_label(block);
  CHECK(first_difference(block, sizeof block, seed()) < 0, "stack content");
  struct rlimit limit;
  MUST(getrlimit(RLIMIT_STACK, &limit));
  size_t bytes =
      limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > (8 << 20) ? 8 << 20 : limit.rlim_cur;
  recurse((int)(bytes * 3 / 4 / 8192));  // 6 of 8 MiB
  // Without end it must fault, not run into other memory.
  pid_t child = fork();
  MUST(child);
  if (!child) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    recurse(1 << 20);
    _exit(0);
  }
  int status = 0;
  MUST(waitpid(child, &status, 0));
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV,
        "endless recursion ended with status %#x", status);
  return pass();
}
