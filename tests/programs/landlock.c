// usage: landlock [free]. Has restricted itself by Landlock; with "free", not at all.
#include "selfcheck.h"

#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static void restrict_self(void) {
  const struct landlock_ruleset_attr attributes = {.handled_access_fs =
                                                       LANDLOCK_ACCESS_FS_MAKE_DIR};
  const int rules = (int)syscall(SYS_landlock_create_ruleset, &attributes,
                                 sizeof attributes.handled_access_fs, 0);
  if (rules == -1) SKIP("landlock_create_ruleset: %s", strerror(errno));
  MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  MUST(syscall(SYS_landlock_restrict_self, rules, 0));
  MUST(close(rules));
  CHECK(mkdir("refused", 0700) == -1 && errno == EACCES, "set-up: it is not restricted");
}

int main(int argc, char** argv) {
  (void)argv;
  if (argc == 1) restrict_self();
  ready();
  wait_line();
  return pass();
}
