// usage: register_dump PID. Not a test: the oracle's eye on registers. Stops every thread of PID as a debugger would,
// prints for each, lowest id first,
//   <tid> <general registers> <extended state> <signal mask> <rseq area> <robust list head>
// (bytes in hex, addresses in hex), and lets them go on. Exit 1 with a reason on stderr when it cannot.
// ckpt-build: no-static no-nopie
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f
#endif
struct rseq_configuration {
  uint64_t address;
  uint32_t size, signature, flags, pad;
};

static void give_up(const char* what) {
  fprintf(stderr, "register_dump: %s: %s\n", what, strerror(errno));
  exit(1);  // the kernel detaches
}

static void print_bytes(const unsigned char* data, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) printf("%02x", data[i]);
}

static int by_number(const void* a, const void* b) { return *(const int*)a - *(const int*)b; }

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  static int tids[4096];
  int count = 0;
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/task", argv[1]);
  DIR* directory = opendir(path);
  if (!directory) give_up(path);
  for (struct dirent* entry; (entry = readdir(directory));)
    if (entry->d_name[0] != '.' && count < 4096) tids[count++] = atoi(entry->d_name);
  qsort(tids, (size_t)count, sizeof *tids, by_number);
  for (int i = 0; i < count; i++) {
    if (ptrace(PTRACE_SEIZE, tids[i], 0, 0)) give_up("PTRACE_SEIZE");
    if (ptrace(PTRACE_INTERRUPT, tids[i], 0, 0)) give_up("PTRACE_INTERRUPT");
    if (waitpid(tids[i], NULL, __WALL) != tids[i]) give_up("waitpid");
  }
  static unsigned char state[1 << 16];
  for (int i = 0; i < count; i++) {
    int tid = tids[i];
    struct user_regs_struct registers;
    struct iovec part = {&registers, sizeof registers};
    if (ptrace(PTRACE_GETREGSET, tid, (void*)NT_PRSTATUS, &part)) give_up("PTRACE_GETREGSET");
    printf("%d ", tid);
    print_bytes((unsigned char*)&registers, sizeof registers);
    part = (struct iovec){state, sizeof state};
    if (ptrace(PTRACE_GETREGSET, tid, (void*)NT_X86_XSTATE, &part)) give_up("PTRACE_GETREGSET, NT_X86_XSTATE");
    // The header says which components are in their initial state; the kernel fills those in either way, and
    // whether the CPU counts one as initial says nothing about the registers.
    memset(state + 512, 0, 8);
    printf(" ");
    print_bytes(state, part.iov_len);
    uint64_t mask = 0;
    if (ptrace(PTRACE_GETSIGMASK, tid, 8, &mask)) give_up("PTRACE_GETSIGMASK");
    struct rseq_configuration rseq;
    memset(&rseq, 0, sizeof rseq);
    ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, sizeof rseq, &rseq);  // since Linux 5.13
    void* head = NULL;
    size_t size = 0;
    syscall(SYS_get_robust_list, tid, &head, &size);
    printf(" %lx %lx %lx\n", (unsigned long)mask, (unsigned long)rseq.address, (unsigned long)head);
  }
  for (int i = 0; i < count; i++) ptrace(PTRACE_DETACH, tids[i], 0, 0);
  return 0;
}
