// Says what getenv() tells, before the save and after it; the arguments say what the program does
// with its environment first. A pointer to a value that it got before must go on to show that one.
#include "selfcheck.h"

static void tell(const char* when) {
  const char* names[] = {"ONE", "TWO", "THREE", "EMPTY", "LONG"};
  for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
    const char* value = getenv(names[i]);
    say("%s %s=%.20s %zu", when, names[i], value ? value : "(none)", value ? strlen(value) : 0);
  }
}

static int count(void) {
  int found = 0;
  for (char** each = environ; each && *each; each++) found++;
  return found;
}

int main(int argc, char** argv) {
  static char put[] = "TWO=put";
  const char* what = argc > 1 ? argv[1] : "";
  seed();
  selfcheck_start_bystanders();
  if (!strcmp(what, "setenv")) {
    MUST(setenv("ONE", "set", 1));
    MUST(setenv("ADDED", "by the program", 1));
  }
  if (!strcmp(what, "putenv")) MUST(putenv(put));
  if (!strcmp(what, "twice")) {
    // What getenv() finds is the first.
    static char* entries[] = {"ONE=first", "ONE=second", NULL};
    environ = entries;
  }
  if (!strcmp(what, "clearenv")) MUST(clearenv());
  if (!strcmp(what, "null")) environ = NULL;
  char* cached = getenv("ONE");
  char kept[64] = "";
  if (cached) snprintf(kept, sizeof kept, "%s", cached);
  ready();
  tell("before");
  wait_line();
  tell("after");
  if (cached) CHECK(!strcmp(cached, kept), "a value that was kept is now \"%s\"", cached);
  CHECK(!strcmp(put, "TWO=put"), "the program's own string is now \"%s\"", put);
  // It is the C library's, as ever.
  int before = count();
  MUST(setenv("LATER", "1", 1));
  CHECK(count() == before + 1, "%d variables after %d", count(), before);
  MUST(setenv("ONE", "changed by the program", 1));
  CHECK(!strcmp(getenv("ONE"), "changed by the program"), "setenv");
  if (strcmp(what, "twice")) {
    MUST(unsetenv("ONE"));
    CHECK(!getenv("ONE"), "unsetenv");
  }
  for (int i = 0; i < 100; i++) {
    char name[16];
    snprintf(name, sizeof name, "MANY%d", i);
    MUST(setenv(name, name, 1));
    CHECK(!strcmp(getenv(name), name), "%s", name);
  }
  MUST(clearenv());
  CHECK(!getenv("LATER"), "clearenv");
  return pass();
}
