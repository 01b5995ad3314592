// Makes processes in three ways. They run instructions that a recording replaces in their parent.
// ckpt-build: no-nopie no-static
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

static unsigned clock_now(void) {
  unsigned low, high;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
  return low ^ high;
}

static int status_of(pid_t child) {
  int status = -1;
  if (waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

int main(void) {
  clock_now();
  pid_t child = fork();
  if (child == 0) _exit(clock_now() == 0 ? 1 : 21);
  const int forked = status_of(child);
  child = vfork();
  if (child == 0) _exit(22);
  const int vforked = status_of(child);
  char* arguments[] = {"sh", "-c", "exit 23", NULL};
  if (posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environ) != 0) return 1;
  printf("%d %d %d\n", forked, vforked, status_of(child));
  return 0;
}
