// usage: attributes NAME... Attributes of the process and of its main thread: each NAME is set to
// an unusual value before the save and must read the same after the restore.
#include "selfcheck.h"

#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/stat.h>

#ifndef PR_SET_THP_DISABLE
#define PR_SET_THP_DISABLE 41
#define PR_GET_THP_DISABLE 42
#endif

static const char* directory;

static void set_limit(int which, rlim_t value) {
  struct rlimit limit;
  MUST(getrlimit(which, &limit));
  limit.rlim_cur = value < limit.rlim_max ? value : limit.rlim_max;
  MUST(setrlimit(which, &limit));
}
static void limit_text(int which, char* text) {
  struct rlimit limit;
  MUST(getrlimit(which, &limit));
  sprintf(text, "%lu/%lu", (unsigned long)limit.rlim_cur, (unsigned long)limit.rlim_max);
}
static void number_text(long number, char* text) { sprintf(text, "%ld", number); }
static void file_text(const char* path, char* text) {
  FILE* file = fopen(path, "r");
  CHECK(file && fgets(text, 200, file), "%s", path);
  fclose(file);
}
static void write_file(const char* path, const char* text) {
  FILE* file = fopen(path, "w");
  CHECK(file, "%s", path);
  fprintf(file, "%s", text);
  fclose(file);
}

static void set_cwd(void) { MUST(chdir(directory)); }
static void get_cwd(char* text) { CHECK(getcwd(text, 900), "getcwd"); }
static void set_umask(void) { umask(0137); }
static void get_umask(char* text) {
  mode_t mode = umask(0);
  umask(mode);
  number_text((long)mode, text);
}
static void set_comm(void) { MUST(prctl(PR_SET_NAME, "odd (na) me\\")); }
static void get_comm(char* text) {
  memset(text, 0, 20);
  MUST(prctl(PR_GET_NAME, text));
}
static void set_personality(void) {
  MUST(personality((unsigned long)personality(0xffffffff) | ADDR_LIMIT_3GB));
}
static void get_personality(char* text) { number_text(personality(0xffffffff), text); }
static void set_nice(void) { MUST(setpriority(PRIO_PROCESS, 0, 7)); }
static void get_nice(char* text) { number_text(getpriority(PRIO_PROCESS, 0), text); }
static void set_realtime_nice(void) {
  struct sched_param parameter = {.sched_priority = 1};
  set_nice();
  if (sched_setscheduler(0, SCHED_FIFO, &parameter))
    SKIP("a real-time policy: %s", strerror(errno));
}
static void set_affinity(void) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(0, &set);
  MUST(sched_setaffinity(0, sizeof set, &set));
}
static void get_affinity(char* text) {
  cpu_set_t set;
  MUST(sched_getaffinity(0, sizeof set, &set));
  number_text(CPU_COUNT(&set) * 1000 + (CPU_ISSET(0, &set) ? 1 : 0), text);
}
static void set_timerslack(void) { MUST(prctl(PR_SET_TIMERSLACK, 12345)); }
static void get_timerslack(char* text) { number_text(prctl(PR_GET_TIMERSLACK), text); }
static void set_pdeathsig(void) { MUST(prctl(PR_SET_PDEATHSIG, SIGUSR2)); }
static void get_pdeathsig(char* text) {
  int number = 0;
  MUST(prctl(PR_GET_PDEATHSIG, &number));
  number_text(number, text);
}
static void set_no_new_privs(void) { MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)); }
static void get_no_new_privs(char* text) {
  number_text(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), text);
}
static void set_keepcaps(void) { MUST(prctl(PR_SET_KEEPCAPS, 1)); }
static void get_keepcaps(char* text) { number_text(prctl(PR_GET_KEEPCAPS), text); }
// Fails in a process that is not registered.
static void set_membarrier(void) {
  MUST(syscall(SYS_membarrier, 1 << 4, 0, 0));  // MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED
  MUST(syscall(SYS_membarrier, 1 << 6, 0, 0));  // ..._SYNC_CORE
}
static void get_membarrier(char* text) {
  long result = syscall(SYS_membarrier, 1 << 3, 0, 0);
  number_text(result ? -errno : syscall(SYS_membarrier, 1 << 5, 0, 0) ? -errno : 0, text);
}
static void set_subreaper(void) { MUST(prctl(PR_SET_CHILD_SUBREAPER, 1)); }
static void get_subreaper(char* text) {
  int value = 0;
  MUST(prctl(PR_GET_CHILD_SUBREAPER, &value));
  number_text(value, text);
}
static void set_thp(void) { MUST(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)); }
static void get_thp(char* text) { number_text(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), text); }
static void set_nofile(void) { set_limit(RLIMIT_NOFILE, 321); }
static void get_nofile(char* text) { limit_text(RLIMIT_NOFILE, text); }
static void set_stack(void) { set_limit(RLIMIT_STACK, 6 << 20); }
static void get_stack(char* text) { limit_text(RLIMIT_STACK, text); }
static void set_core(void) { set_limit(RLIMIT_CORE, 4096); }
static void get_core(char* text) { limit_text(RLIMIT_CORE, text); }
static void set_oom(void) { write_file("/proc/self/oom_score_adj", "321"); }
static void get_oom(char* text) { file_text("/proc/self/oom_score_adj", text); }
static void set_login(void) {
  const int fd = open("/proc/self/loginuid", O_WRONLY);
  if (fd < 0 || write(fd, "4711", 4) != 4) SKIP("loginuid: %s", strerror(errno));
  close(fd);
}
static void get_login(char* text) { file_text("/proc/self/loginuid", text); }
static void set_policy(void) {
  struct sched_param parameter = {0};
  MUST(sched_setscheduler(0, SCHED_BATCH, &parameter));
}
static void get_policy(char* text) { number_text(sched_getscheduler(0), text); }
static void set_ioprio(void) { MUST(syscall(SYS_ioprio_set, 1, 0, (2 << 13) | 5)); }
static void get_ioprio(char* text) { number_text(syscall(SYS_ioprio_get, 1, 0), text); }
static void set_core_filter(void) { write_file("/proc/self/coredump_filter", "0x11"); }
static void get_core_filter(char* text) { file_text("/proc/self/coredump_filter", text); }
// Where memory is to be: the thread's own policy, and that of one mapping.
static unsigned char* placed;
static void place(void) {
  if (placed) return;
  placed = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(placed);
}
static void set_numa(void) {
  unsigned long first = 1;
  place();
  if (syscall(SYS_set_mempolicy, MPOL_PREFERRED, &first, 64))
    SKIP("set_mempolicy: %s", strerror(errno));
  MUST(syscall(SYS_mbind, placed + 65536, 65536, MPOL_BIND | MPOL_F_STATIC_NODES, &first, 64, 0));
}
static void get_numa(char* text) {
  int mode[3] = {-1, -1, -1};
  unsigned long nodes[3][16] = {{0}};
  place();
  syscall(SYS_get_mempolicy, &mode[0], nodes[0], 1024, NULL, 0);
  syscall(SYS_get_mempolicy, &mode[1], nodes[1], 1024, placed + 65536, MPOL_F_ADDR);
  syscall(SYS_get_mempolicy, &mode[2], nodes[2], 1024, placed, MPOL_F_ADDR);
  sprintf(text, "%x %lx, %x %lx, %x %lx", mode[0], nodes[0][0], mode[1], nodes[1][0], mode[2],
          nodes[2][0]);
}
// What is mapped from now on is locked: at once, or when it is touched.
static void set_lock(int flags) {
  if (mlockall(flags)) SKIP("mlockall: %s", strerror(errno));
}
static void set_lock_future(void) { set_lock(MCL_FUTURE); }
static void set_lock_on_fault(void) { set_lock(MCL_FUTURE | MCL_ONFAULT); }
static void get_lock_future(char* text) {
  unsigned char there[4];
  unsigned char* fresh =
      mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(fresh != MAP_FAILED && !mincore(fresh, 16384, there), "mincore: %s", strerror(errno));
  // A page that is locked cannot be dropped.
  fresh[0] = 1;
  const int locked = madvise(fresh, 4096, MADV_DONTNEED) == -1;
  MUST(munmap(fresh, 16384));
  sprintf(text, "locked %d, there %d", locked, there[1] & 1);
}

static const struct {
  const char* name;
  void (*set)(void);
  void (*get)(char* text);
} attributes[] = {
    {"cwd", set_cwd, get_cwd},
    {"umask", set_umask, get_umask},
    {"comm", set_comm, get_comm},
    {"personality", set_personality, get_personality},
    {"nice", set_nice, get_nice},
    {"realtime_nice", set_realtime_nice, get_nice},
    {"affinity", set_affinity, get_affinity},
    {"timerslack", set_timerslack, get_timerslack},
    {"pdeathsig", set_pdeathsig, get_pdeathsig},
    {"no_new_privs", set_no_new_privs, get_no_new_privs},
    {"keepcaps", set_keepcaps, get_keepcaps},
    {"membarrier", set_membarrier, get_membarrier},
    {"subreaper", set_subreaper, get_subreaper},
    {"thp_disable", set_thp, get_thp},
    {"rlimit_nofile", set_nofile, get_nofile},
    {"rlimit_stack", set_stack, get_stack},
    {"rlimit_core", set_core, get_core},
    {"oom_score_adj", set_oom, get_oom},
    {"loginuid", set_login, get_login},
    {"policy", set_policy, get_policy},
    {"ioprio", set_ioprio, get_ioprio},
    {"core_filter", set_core_filter, get_core_filter},
    {"numa", set_numa, get_numa},
    {"lock_future", set_lock_future, get_lock_future},
    {"lock_on_fault", set_lock_on_fault, get_lock_future},
};
enum { COUNT = sizeof attributes / sizeof *attributes };

int main(int argc, char** argv) {
  static char before[COUNT][1024], now[1024];
  directory = getenv("CKPT_TEST_DIRECTORY");
  if (!directory) directory = "/usr/share";
  CHECK(argc > 1, "usage: attributes NAME...");
  int wanted[COUNT] = {0};
  for (int a = 1; a < argc; a++) {
    int found = 0;
    for (int i = 0; i < COUNT; i++)
      if (!strcmp(argv[a], attributes[i].name)) {
        found = wanted[i] = 1;
        char original[1024];
        attributes[i].get(original);
        attributes[i].set();
        attributes[i].get(before[i]);
        CHECK(strcmp(original, before[i]), "set-up: %s is %s already", argv[a], original);
      }
    CHECK(found, "no attribute %s", argv[a]);
  }
  ready();
  wait_line();
  for (int i = 0; i < COUNT; i++)
    if (wanted[i]) {
      attributes[i].get(now);
      CHECK(!strcmp(now, before[i]), "%s is %.200s, was %.200s", attributes[i].name, now,
            before[i]);
    }
  return pass();
}
