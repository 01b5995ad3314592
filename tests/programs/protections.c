// Every protection comes back: a store to a read-only page faults, a load from a PROT_NONE page
// faults, code written at run time still executes, code in a page that is not executable does not.
#include "selfcheck.h"

#include <setjmp.h>

enum { PAGE = 4096 };
static sigjmp_buf escape;
static void on_fault(int number) { siglongjmp(escape, number); }

// mov eax, 4242; ret
static const unsigned char code[] = {0xb8, 0x92, 0x10, 0x00, 0x00, 0xc3};

static int reads(volatile unsigned char* p) {
  if (sigsetjmp(escape, 1)) return 0;
  (void)*p;
  return 1;
}
static int writes(volatile unsigned char* p) {
  if (sigsetjmp(escape, 1)) return 0;
  *p = *p;
  return 1;
}
static int executes(unsigned char* p) {
  if (sigsetjmp(escape, 1)) return 0;
  return ((int (*)(void))(uintptr_t)p)() == 4242;
}

static const int protections[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE,
                                  PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE | PROT_EXEC};
enum { COUNT = 5 };

int main(void) {
  struct sigaction action = {.sa_handler = on_fault};
  MUST(sigaction(SIGSEGV, &action, NULL));
  unsigned char* area =
      mmap(NULL, COUNT * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(area);
  for (int i = 0; i < COUNT; i++) {
    memcpy(area + i * PAGE, code, sizeof code);
    MUST(mprotect(area + i * PAGE, PAGE, protections[i]));
  }
  ready();
  wait_line();
  for (int i = 0; i < COUNT; i++) {
    unsigned char* page = area + i * PAGE;
    CHECK(reads(page) == !!(protections[i] & PROT_READ), "page %d: readable %d", i, reads(page));
    CHECK(writes(page) == !!(protections[i] & PROT_WRITE), "page %d: writable %d", i, writes(page));
    CHECK(executes(page) == !!(protections[i] & PROT_EXEC), "page %d: executable %d", i,
          executes(page));
    MUST(mprotect(page, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC));
    CHECK(executes(page), "page %d cannot be made executable again, or lost its content", i);
  }
  MUST(munmap(area, COUNT * PAGE));
  return pass();
}
