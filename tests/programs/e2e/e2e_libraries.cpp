// Loads one library before the save and another one after it.
//
// usage: e2e_libraries FIRST SECOND        they export first_value(int) and second_value(int)
// Prints what the functions give, READY in between, the nonce, PASS. Exit status 6.
//
// ckpt-build: no-static no-nopie
// ckpt-link: -ldl
#include <dlfcn.h>
#include <unistd.h>

#include <string>

#include "e2e_common.h"

using Function = int (*)(int);

static Function load(const char* path, const char* symbol) {
  void* handle = dlopen(path, RTLD_NOW);
  if (handle == nullptr) {
    fail(dlerror());
  }
  auto* function = reinterpret_cast<Function>(dlsym(handle, symbol));
  if (function == nullptr) {
    fail(dlerror());
  }
  return function;
}

void between() {
  asm volatile("");  // between the libraries
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fail("usage: e2e_libraries FIRST SECOND");
  }
  draw_nonce();
  Function first = load(argv[1], "first_value");
  std::printf("first %d\n", first(1));
  say("READY");
  between();
  std::printf("first %d\n", first(2));
  Function second = load(argv[2], "second_value");
  std::printf("second %d\n", second(3));
  say_nonce();
  say("PASS");
  return 6;
}
