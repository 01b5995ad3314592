// usage: plugin_host LIBRARY [LATE]. A library loaded with dlopen: its code, data and TLS work
// after a restore, also when its file is gone by then. LATE is loaded only after the restore. Both
// have the functions of plugin.c. ckpt-build: no-static ckpt-link: -ldl
#include "selfcheck.h"

#include <dlfcn.h>

typedef uint64_t (*function)(uint64_t);

static function find(void* library, const char* name) {
  function found = (function)(uintptr_t)dlsym(library, name);
  CHECK(found, "dlsym: %s", dlerror());
  return found;
}

int main(int argc, char** argv) {
  CHECK(argc >= 2, "usage: plugin_host LIBRARY [LATE]");
  void* library = dlopen(argv[1], RTLD_NOW);
  CHECK(library, "dlopen: %s", dlerror());
  function count = find(library, "plugin_count"), mix = find(library, "plugin_mix"),
           tls = find(library, "plugin_tls");
  CHECK(count(0) == 1 && count(0) == 2, "plugin_count");
  CHECK(tls(seed()) == 5, "the library's TLS image");
  uint64_t mixed = mix(seed());
  ready();
  wait_line();
  CHECK(count(0) == 3, "the library's data");
  CHECK(mix(seed()) == mixed, "the library's code");
  CHECK(tls(1) == seed(), "the library's TLS");
  CHECK(find(library, "plugin_count") == count, "dlsym finds another address");
  if (argc > 2) {
    void* late = dlopen(argv[2], RTLD_NOW | RTLD_LOCAL);
    CHECK(late, "dlopen after the restore: %s", dlerror());
    CHECK(find(late, "plugin_count")(0) == 1, "a library loaded late");
    CHECK(!dlclose(late), "dlclose");
  }
  CHECK(!dlclose(library), "dlclose");
  return pass();
}
