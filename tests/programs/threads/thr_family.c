// usage: thr_family. fork, vfork, posix_spawn, system and popen, from a thread that was there at
// the save and from a new one.
#include "thr.h"

#include <spawn.h>
#include <sys/wait.h>

static void reap(pid_t child, int wanted, const char* what) {
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child, "%s: waitpid: %s", what, strerror(errno));
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == wanted, "%s: status %#x", what, status);
}

static void* in_child(void* lock) {
  OK(pthread_mutex_lock((pthread_mutex_t*)lock));
  OK(pthread_mutex_unlock((pthread_mutex_t*)lock));
  return lock;
}

static void children(void) {
  static pthread_mutex_t lock = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
  OK(pthread_mutex_lock(&lock));
  pid_t child = fork();
  CHECK(child >= 0, "fork");
  if (!child) {
    // The child's only thread owns what the forking thread owned, and can make threads.
    pthread_t thread;
    if (gettid() != getpid() || raise(0)) _exit(1);
    pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
    if (pthread_create(&thread, NULL, in_child, &own) || pthread_join(thread, NULL)) _exit(2);
    if (pthread_kill(pthread_self(), 0)) _exit(3);
    _exit(21);
  }
  OK(pthread_mutex_unlock(&lock));
  reap(child, 21, "fork");
  char* arguments[] = {(char*)"sh", (char*)"-c", (char*)"exit 22", NULL};
  char* environment[] = {NULL};
  child = vfork();
  if (!child) {
    execve("/bin/sh", arguments, environment);
    _exit(1);
  }
  reap(child, 22, "vfork");
  OK(posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environment));
  reap(child, 22, "posix_spawn");
  int status = system("exit 23");
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 23, "system: %#x", status);
  char line[64] = "";
  FILE* pipe = popen("echo through a pipe", "r");
  CHECK(pipe && fgets(line, sizeof line, pipe) && !strcmp(line, "through a pipe\n"), "popen");
  CHECK(pclose(pipe) == 0, "pclose");
}

static void* work(void* unused) {
  thr_arrive();
  thr_pass_gate(1);
  children();
  return unused;
}

int main(void) {
  pthread_t old, fresh;
  OK(pthread_create(&old, NULL, work, NULL));
  thr_wait_arrived(1);
  ready();
  wait_line();
  thr_open_gate(1);
  OK(pthread_join(old, NULL));
  OK(pthread_create(&fresh, NULL, work, NULL));
  OK(pthread_join(fresh, NULL));
  children();
  return pass();
}
