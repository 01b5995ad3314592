// usage: refused WHAT. Prints before and after what a recording cannot follow.
// ckpt-build: no-nopie no-static
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

static void with_shared_file(void) {
  const int fd = memfd_create("shared", 0);
  if (ftruncate(fd, 4096) != 0) return;
  mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static void with_segment(void) {
  const int segment = shmget(IPC_PRIVATE, 4096, 0600);
  shmat(segment, NULL, 0);
  shmctl(segment, IPC_RMID, NULL);
}

static void with_semaphores(char* room) {
  const int set = semget(IPC_PRIVATE, 1, 0600);
  semctl(set, 0, GETALL, room);
  semctl(set, 0, IPC_RMID);
}

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  puts("before");
  fflush(stdout);
  char room[256] = {0};
  if (!strcmp(what, "io_uring")) syscall(SYS_io_uring_setup, 1, room);
  if (!strcmp(what, "aio")) syscall(SYS_io_setup, 1, room);
  if (!strcmp(what, "userfaultfd")) syscall(SYS_userfaultfd, 0);
  if (!strcmp(what, "ptrace")) ptrace(PTRACE_TRACEME, 0, NULL, NULL);
  if (!strcmp(what, "strict"))
    prctl(PR_SET_SECCOMP, 99, 0, 0, 0), prctl(PR_SET_SECCOMP, 1, 0, 0, 0);
  if (!strcmp(what, "seccomp")) syscall(SYS_seccomp, 99, 0, NULL), syscall(SYS_seccomp, 0, 0, NULL);
  if (!strcmp(what, "semctl")) with_semaphores(room);
  if (!strcmp(what, "shared")) with_shared_file();
  if (!strcmp(what, "sysv")) with_segment();
  if (!strcmp(what, "ioctl")) ioctl(0, 0x12345678, room);
  if (!strcmp(what, "number")) syscall(1999);
  if (!strcmp(what, "32-bit")) __asm__ volatile("int $0x80" : : "a"(20) : "memory");
  if (!strcmp(what, "exec")) execl("/bin/echo", "echo", "after", (char*)NULL);
  if (write(1, "after\n", 6) != 6) return 1;
  // Strict seccomp lets no other exit through.
  syscall(SYS_exit, 7);
  return 0;
}
