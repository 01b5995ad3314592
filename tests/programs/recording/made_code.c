// Code made at run time reads the clock, which goes unseen, and the value is told to the kernel.
// ckpt-build: no-nopie no-static
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void) {
  static const unsigned char code[] = {0x0f, 0x31, 0x0f, 0xb7, 0xc0, 0xc3};  // rdtsc; movzwl; ret
  void* page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memcpy(page, code, sizeof code);
  mprotect(page, 4096, PROT_READ | PROT_EXEC);
  int (*clock_now)(void);
  memcpy(&clock_now, &page, sizeof page);
  for (int i = 0; i < 8; ++i) close(100000 + clock_now());
  return 0;
}
