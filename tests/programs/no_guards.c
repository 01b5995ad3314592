// usage: no_guards COMMAND... Executes the command where MADV_GUARD_INSTALL and MADV_GUARD_REMOVE fail
// as under a kernel that does not have them.
#include "selfcheck.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (skip))

int main(int argc, char** argv) {
  CHECK(argc >= 2, "usage: no_guards COMMAND...");
  struct sock_filter code[] = {
      LOAD(nr),
      UNLESS(SYS_madvise, 4),
      LOAD(args[2]),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 102, 1, 0),
      UNLESS(103, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
  execv(argv[1], argv + 1);
  CHECK(0, "exec of %s: %s", argv[1], strerror(errno));
}
