// Advice that the kernel keeps per mapping, read back as VmFlags in /proc/self/smaps, and what it
// does at a fork.
#include "selfcheck.h"

#include <sys/wait.h>

enum { BYTES = 4 << 20, COUNT = 11 };

static const struct {
  const char* name;
  int advice;
  const char* flag;
} kinds[COUNT] = {
    {"none", -1, ""},
    {"hugepage", MADV_HUGEPAGE, "hg"},
    {"nohugepage", MADV_NOHUGEPAGE, "nh"},
    {"dontfork", MADV_DONTFORK, "dc"},
    {"dontdump", MADV_DONTDUMP, "dd"},
    {"wipeonfork", MADV_WIPEONFORK, "wf"},
    {"sequential", MADV_SEQUENTIAL, "sr"},
    {"random", MADV_RANDOM, "rr"},
    {"mergeable", MADV_MERGEABLE, "mg"},
    {"locked", -2, "lo"},
    {"locked_on_fault", -3, "lf"},
};
static unsigned char* areas[COUNT];
static char flags_before[COUNT][256];

static void read_flags(void* address, char* flags, size_t size) {
  char line[512];
  FILE* smaps = fopen("/proc/self/smaps", "r");
  CHECK(smaps, "smaps");
  unsigned long start = 0, end = 0, a, b;
  while (fgets(line, sizeof line, smaps)) {
    char dash;
    if (sscanf(line, "%lx%c%lx ", &a, &dash, &b) == 3 && dash == '-') start = a, end = b;
    if (!strncmp(line, "VmFlags: ", 9) && (unsigned long)address >= start &&
        (unsigned long)address < end) {
      snprintf(flags, size, "%.200s", line + 9);
      fclose(smaps);
      return;
    }
  }
  FAIL("%p is not mapped", address);
}

static int faults_in_child(const volatile unsigned char* address) {
  pid_t child = fork();
  MUST(child);
  if (!child) {
    signal(SIGSEGV, SIG_DFL);
    (void)*address;
    _exit(0);
  }
  int status;
  MUST(waitpid(child, &status, 0));
  return WIFSIGNALED(status);
}

int main(void) {
  seed();
  char applied[COUNT] = {0};
  for (int i = 0; i < COUNT; i++) {
    size_t bytes = kinds[i].advice <= -2 ? 65536 : BYTES;
    // A reservation around each keeps the kernel from merging neighbours.
    unsigned char* room = mmap(NULL, bytes + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(room);
    areas[i] = room + 4096;
    MUST(mprotect(areas[i], bytes, PROT_READ | PROT_WRITE));
    fill(areas[i], 65536, seed() + (uint64_t)i);
    if (kinds[i].advice == -2)
      applied[i] = !mlock(areas[i], bytes);
    else if (kinds[i].advice == -3)
      applied[i] = !mlock2(areas[i], bytes, MLOCK_ONFAULT);
    else if (kinds[i].advice >= 0)
      applied[i] =
          !madvise(areas[i], bytes, kinds[i].advice);  // KSM and huge pages may not be compiled in
    read_flags(areas[i], flags_before[i], sizeof flags_before[i]);
    if (applied[i])
      CHECK(strstr(flags_before[i], kinds[i].flag), "set-up: %s: %s", kinds[i].name,
            flags_before[i]);
  }
  ready();
  wait_line();
  char now[256];
  for (int i = 0; i < COUNT; i++) {
    CHECK(first_difference(areas[i], 65536, seed() + (uint64_t)i) < 0, "%s: content",
          kinds[i].name);
    read_flags(areas[i], now, sizeof now);
    for (int k = 1; k < COUNT; k++)
      CHECK(!strstr(now, kinds[k].flag) == !strstr(flags_before[i], kinds[k].flag),
            "%s: VmFlags are %.100s, were %.100s", kinds[i].name, now, flags_before[i]);
  }
  CHECK(!faults_in_child(areas[0]), "plain memory faults in a child");
  CHECK(faults_in_child(areas[3]), "MADV_DONTFORK was lost: the child has the memory");
  pid_t child = fork();
  MUST(child);
  if (!child) _exit(first_nonzero(areas[5], 65536) < 0 ? 0 : 1);
  int status;
  MUST(waitpid(child, &status, 0));
  CHECK(status == 0, "MADV_WIPEONFORK was lost: the child sees the content (%#x)", status);
  return pass();
}
