// usage: proc_privileges CASE | --list. Who the program is, what it may do, and settings of prctl:
// each is changed before the save, and must be the same after the restore, and in effect. Cases
// that begin with "root_" need root.
#include "selfcheck.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <stddef.h>
#include <sys/fsuid.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#define PR_GET_MEMORY_MERGE 68
#endif

enum { NOBODY = 65534, GROUP = 4242 };

static char before[4096], now[4096];

// What /proc tells of the thread's credentials.
static void read_status(char* text) {
  const char* path = "/proc/thread-self/status";
  char line[4096];
  size_t used = 0;
  FILE* file = fopen(path, "r");
  CHECK(file, "%s: %s", path, strerror(errno));
  while (fgets(line, sizeof line, file))
    if (!strncmp(line, "Uid", 3) || !strncmp(line, "Gid", 3) || !strncmp(line, "Groups", 6) ||
        !strncmp(line, "Cap", 3) || !strncmp(line, "NoNewPrivs", 10) ||
        !strncmp(line, "Seccomp", 7))
      used += (size_t)snprintf(text + used, sizeof before - used, "%s", line);
  fclose(file);
}
static void same_status(void) {
  read_status(now);
  CHECK(!strcmp(before, now), "before: %s now: %s", before, now);
}
static void may_not_be_root(void) {
  CHECK(setuid(0) == -1 && errno == EPERM, "it can be root again");
  int fd = open("/etc/shadow", O_RDONLY);
  CHECK(fd == -1 && errno == EACCES, "it can read /etc/shadow");
}

// ---- credentials
static void drop_set(void) {
  gid_t groups[] = {7, GROUP, 12};
  MUST(setgroups(3, groups));
  MUST(setresgid(GROUP, GROUP, GROUP));
  MUST(setresuid(NOBODY, NOBODY, NOBODY));
  read_status(before);
}
static void drop_check(void) {
  same_status();
  may_not_be_root();
}
static void effective_set(void) {
  MUST(setresgid(1, 2, 3));
  MUST(setresuid(0, NOBODY, 0));
  read_status(before);
}
static void effective_check(void) {
  same_status();
  int fd = open("/etc/shadow", O_RDONLY);
  CHECK(fd == -1 && errno == EACCES, "it can read /etc/shadow");
  // It has kept the right to be root.
  MUST(seteuid(0));
  fd = open("/etc/shadow", O_RDONLY);
  CHECK(fd >= 0, "root cannot: %s", strerror(errno));
}
static void capset_to(unsigned long effective, unsigned long permitted, unsigned long inheritable) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {
      {(unsigned)effective, (unsigned)permitted, (unsigned)inheritable},
      {(unsigned)(effective >> 32), (unsigned)(permitted >> 32), (unsigned)(inheritable >> 32)}};
  MUST(syscall(SYS_capset, &header, data));
}
#define BIT(capability) (1UL << (capability))
// A server's way: it keeps a few capabilities when it changes its user.
static void caps_set(void) {
  MUST(prctl(PR_CAPBSET_DROP, CAP_SYS_MODULE, 0, 0, 0));
  MUST(prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT, 0, 0, 0));
  MUST(prctl(PR_SET_KEEPCAPS, 1));
  MUST(setresuid(NOBODY, NOBODY, NOBODY));
  capset_to(BIT(CAP_CHOWN), BIT(CAP_CHOWN) | BIT(CAP_NET_BIND_SERVICE), BIT(CAP_NET_BIND_SERVICE));
  MUST(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0));
  read_status(before);
}
static void caps_check(void) {
  same_status();
  may_not_be_root();
  CHECK(prctl(PR_GET_KEEPCAPS) == 1, "keep-capabilities is %d", prctl(PR_GET_KEEPCAPS));
}
static void securebits_set(void) {
  MUST(prctl(PR_SET_SECUREBITS,
             SECBIT_NOROOT | SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_NO_SETUID_FIXUP));
  capset_to(BIT(CAP_KILL), BIT(CAP_KILL) | BIT(CAP_SETUID), 0);
  read_status(before);
}
static void securebits_check(void) {
  same_status();
  CHECK(prctl(PR_GET_SECUREBITS) ==
            (SECBIT_NOROOT | SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_NO_SETUID_FIXUP),
        "securebits are %x", prctl(PR_GET_SECUREBITS));
}
static void fsuid_set(void) {
  setfsuid(NOBODY);
  setfsgid(NOBODY);
  read_status(before);
}
// One thread has changed, by the system call: glibc would have changed all.
static pid_t second_id;
static int stage;
static char second_before[4096];
static void* second(void* unused) {
  MUST(syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY));
  read_status(second_before);
  __atomic_store_n(&second_id, gettid(), __ATOMIC_SEQ_CST);
  while (!__atomic_load_n(&stage, __ATOMIC_SEQ_CST)) futex(&stage, FUTEX_WAIT_PRIVATE, 0, NULL);
  char text[4096];
  read_status(text);
  CHECK(!strcmp(text, second_before), "before: %s now: %s", second_before, text);
  return unused;
}
static pthread_t thread;
static void thread_set(void) {
  CHECK(!pthread_create(&thread, NULL, second, NULL), "pthread_create");
  while (!__atomic_load_n(&second_id, __ATOMIC_SEQ_CST)) sched_yield();
  read_status(before);
}
static void thread_check(void) {
  same_status();
  __atomic_store_n(&stage, 1, __ATOMIC_SEQ_CST);
  futex(&stage, FUTEX_WAKE_PRIVATE, 1, NULL);
  CHECK(!pthread_join(thread, NULL), "join");
}
static void groups_set(void) {
  static gid_t groups[3000];
  for (int i = 0; i < 3000; i++) groups[i] = (gid_t)(5000 + i);
  MUST(setgroups(3000, groups));
}
static void groups_check(void) {
  static gid_t groups[4000];
  int count = getgroups(4000, groups);
  CHECK(count == 3000, "%d groups", count);
  for (int i = 0; i < 3000; i++)
    CHECK(groups[i] == (gid_t)(5000 + i), "group %d is %d", i, (int)groups[i]);
}

// ---- prctl
static void dumpable_set(void) { MUST(prctl(PR_SET_DUMPABLE, 0)); }
static void dumpable_check(void) {
  CHECK(prctl(PR_GET_DUMPABLE) == 0, "dumpable is %d", prctl(PR_GET_DUMPABLE));
}
static void dumpable_is_1(void) {
  CHECK(prctl(PR_GET_DUMPABLE) == 1, "dumpable is %d", prctl(PR_GET_DUMPABLE));
}
static void mdwe_set(void) {
  if (prctl(PR_SET_MDWE, 1, 0, 0, 0)) SKIP("PR_SET_MDWE: %s", strerror(errno));
}
static void mdwe_check(void) {
  CHECK(prctl(PR_GET_MDWE, 0, 0, 0, 0) == 1, "PR_GET_MDWE: %d", prctl(PR_GET_MDWE, 0, 0, 0, 0));
  void* page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(mprotect(page, 4096, PROT_READ | PROT_EXEC) == -1 && errno == EACCES,
        "it is not in effect");
}
static void tsc_set(void) { MUST(prctl(PR_SET_TSC, PR_TSC_SIGSEGV)); }
static void tsc_check(void) {
  int value = 0;
  MUST(prctl(PR_GET_TSC, &value));
  CHECK(value == PR_TSC_SIGSEGV, "PR_GET_TSC: %d", value);
  MUST(prctl(PR_SET_TSC, PR_TSC_ENABLE));  // the vdso's clocks read it
}
static void mce_set(void) { MUST(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0)); }
static void mce_check(void) {
  int value = prctl(PR_MCE_KILL_GET, 0, 0, 0, 0);
  CHECK(value == PR_MCE_KILL_EARLY, "PR_MCE_KILL_GET: %d", value);
}
static void merge_set(void) {
  if (prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0)) SKIP("PR_SET_MEMORY_MERGE: %s", strerror(errno));
}
static void merge_check(void) {
  CHECK(prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0) == 1, "PR_GET_MEMORY_MERGE");
}
static void flusher_set(void) {
  if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0)) SKIP("PR_SET_IO_FLUSHER: %s", strerror(errno));
}
static void flusher_check(void) {
  CHECK(prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) == 1, "PR_GET_IO_FLUSHER");
}
static int speculation;
static void speculation_set(void) {
  if (prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, PR_SPEC_DISABLE, 0, 0))
    SKIP("PR_SET_SPECULATION_CTRL: %s", strerror(errno));
  speculation = prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0);
}
static void speculation_check(void) {
  int value = prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0);
  CHECK(value == speculation, "PR_GET_SPECULATION_CTRL: %d, was %d", value, speculation);
}

// ---- seccomp
#define LOAD_NUMBER BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
static void deny(long number, int error) {
  struct sock_filter code[] = {LOAD_NUMBER,
                               BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
                               BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
                               BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}
static void is_denied(long number, int error) {
  errno = 0;
  long got = syscall(number);
  CHECK(got == -1 && errno == error, "call %ld gives %ld, %s", number, got, strerror(errno));
}
static void filter_set(void) {
  MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  deny(SYS_getppid, ENOTTY);
  read_status(before);
}
static void filter_check(void) {
  is_denied(SYS_getppid, ENOTTY);
  same_status();
}
// The later one is asked first; of two errors the later filter's is given.
static void two_filters_set(void) {
  filter_set();
  deny(SYS_getpgrp, ENXIO);
  deny(SYS_getppid, EDOM);
  deny(SYS_pause, EDOM);
  deny(SYS_munmap, EDOM);
  deny(SYS_prctl, EDOM);
  read_status(before);
}
static void two_filters_check(void) {
  is_denied(SYS_getpgrp, ENXIO);
  is_denied(SYS_getppid, EDOM);
  is_denied(SYS_pause, EDOM);
  read_status(now);
  CHECK(!strcmp(before, now), "before: %s now: %s", before, now);
}
static void* filtered(void* unused) {
  filter_set();
  __atomic_store_n(&second_id, gettid(), __ATOMIC_SEQ_CST);
  while (!__atomic_load_n(&stage, __ATOMIC_SEQ_CST)) futex(&stage, FUTEX_WAIT_PRIVATE, 0, NULL);
  filter_check();
  return unused;
}
static void filter_thread_set(void) {
  CHECK(!pthread_create(&thread, NULL, filtered, NULL), "pthread_create");
  while (!__atomic_load_n(&second_id, __ATOMIC_SEQ_CST)) sched_yield();
}
static void filter_thread_check(void) {
  CHECK(syscall(SYS_getppid) > 0, "the filter is in the wrong thread");
  __atomic_store_n(&stage, 1, __ATOMIC_SEQ_CST);
  futex(&stage, FUTEX_WAKE_PRIVATE, 1, NULL);
  CHECK(!pthread_join(thread, NULL), "join");
}
// Set as root without no_new_privs, which then gives up its privileges.
static void filter_drop_set(void) {
  deny(SYS_getppid, ENOTTY);
  drop_set();
}
static void filter_drop_check(void) {
  is_denied(SYS_getppid, ENOTTY);
  drop_check();
  CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0, "no_new_privs");
}

static const struct {
  const char* name;
  void (*set)(void);
  void (*check)(void);
} cases[] = {
    {"root_dropped", drop_set, drop_check},
    {"root_effective", effective_set, effective_check},
    {"root_capabilities", caps_set, caps_check},
    {"root_securebits", securebits_set, securebits_check},
    {"root_fsuid", fsuid_set, same_status},
    {"root_one_thread", thread_set, thread_check},
    {"root_groups", groups_set, groups_check},
    {"root_not_dumpable", dumpable_set, dumpable_check},
    {"dumpable", dumpable_is_1, dumpable_is_1},
    {"mdwe", mdwe_set, mdwe_check},
    {"tsc", tsc_set, tsc_check},
    {"mce_kill", mce_set, mce_check},
    {"root_memory_merge", merge_set, merge_check},
    {"root_io_flusher", flusher_set, flusher_check},
    {"speculation", speculation_set, speculation_check},
    {"root_filter", filter_set, filter_check},
    {"root_filters", two_filters_set, two_filters_check},
    {"root_filter_of_thread", filter_thread_set, filter_thread_check},
    {"root_filter_dropped", filter_drop_set, filter_drop_check},
};
enum { COUNT = sizeof cases / sizeof *cases };

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: proc_privileges CASE | --list");
  for (int i = 0; i < COUNT; i++) {
    if (!strcmp(argv[1], "--list")) say("%s", cases[i].name);
    if (strcmp(argv[1], cases[i].name)) continue;
    if (!strncmp(cases[i].name, "root_", 5) && geteuid()) SKIP("needs root");
    seed();
    selfcheck_start_bystanders();
    cases[i].set();
    ready();
    wait_line();
    cases[i].check();
    return pass();
  }
  CHECK(!strcmp(argv[1], "--list"), "no case %s", argv[1]);
  return 0;
}
