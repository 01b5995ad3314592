// usage: seccomp_filter [strict]. A seccomp filter that kills on most calls: a save that makes
// system calls in this process would kill it, so it must say no (or, privileged, suspend the
// filter).
#include "selfcheck.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

#define ALLOW(number) \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

int main(int argc, char** argv) {
  (void)argv;
  unsetenv("CKPT_TEST_THREADS");  // a filter belongs to one thread, and strict mode cannot end the
                                  // others
  ready();
  MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  if (argc > 1) {
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
  } else {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(SYS_read),
        ALLOW(SYS_write),
        ALLOW(SYS_exit),
        ALLOW(SYS_exit_group),
        ALLOW(SYS_rt_sigreturn),
        ALLOW(SYS_restart_syscall),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
  }
  say("FILTERED");
  wait_line();
  say("PASS %s", selfcheck_nonce);
  syscall(SYS_exit, 0);  // strict mode allows exit only
  _exit(0);
}
