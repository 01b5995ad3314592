// A thread with a working directory, a umask and a personality of its own, or with a table of
// descriptors; or threads that share all that with each other, but no longer with the main one, which has ended.
//
// usage: thr_place fs | files | ended
#include "../selfcheck.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/stat.h>

static int to_thread[2], from_thread[2], is_files;

static void* work(void* unused) {
  char byte = 'x', directory[200];
  (void)unused;
  if (unshare(is_files ? CLONE_FILES : CLONE_FS)) SKIP("unshare: %s", strerror(errno));
  if (!is_files) {
    MUST(chdir("/usr"));
    umask(0123);
    MUST(personality(ADDR_COMPAT_LAYOUT));
  }
  CHECK(write(from_thread[1], &byte, 1) == 1, "set-up: write");
  CHECK(read(to_thread[0], &byte, 1) == 1, "read: %s", strerror(errno));
  if (is_files) return NULL;
  CHECK(getcwd(directory, sizeof directory) && !strcmp(directory, "/usr"), "it is in %s",
        directory);
  CHECK(umask(0) == 0123, "its umask");
  CHECK(personality(0xffffffff) == ADDR_COMPAT_LAYOUT, "its personality is %x",
        personality(0xffffffff));
  MUST(chdir("/"));
  return NULL;
}

static void* go_on(void* second) {
  char line[300] = "", *state = NULL;
  // An ended main thread is a zombie.
  while (!state || state[2] != 'Z') {
    FILE* file = fopen("/proc/self/stat", "r");
    CHECK(file && fgets(line, sizeof line, file), "/proc/self/stat: %s", strerror(errno));
    fclose(file);
    state = strrchr(line, ')');
  }
  if (!second) pause();
  ready();
  wait_line();
  exit(pass());
}

int main(int argc, char** argv) {
  char byte, before[1000], now[1000];
  pthread_t thread;
  CHECK(argc == 2, "usage: thr_place fs | files | ended");
  if (!strcmp(argv[1], "ended")) {
    CHECK(!pthread_create(&thread, NULL, go_on, NULL), "set-up: pthread_create");
    CHECK(!pthread_create(&thread, NULL, go_on, argv), "set-up: pthread_create");
    pthread_exit(NULL);
  }
  is_files = !strcmp(argv[1], "files");
  MUST(pipe(to_thread));
  MUST(pipe(from_thread));
  umask(027);
  const int usual = personality(0xffffffff);
  CHECK(getcwd(before, sizeof before), "getcwd");
  CHECK(!pthread_create(&thread, NULL, work, NULL), "set-up: pthread_create");
  CHECK(read(from_thread[0], &byte, 1) == 1, "set-up: read");
  ready();
  wait_line();
  CHECK(write(to_thread[1], "x", 1) == 1, "write");
  CHECK(!pthread_join(thread, NULL), "pthread_join");
  // What the thread has done is no matter of the others.
  CHECK(getcwd(now, sizeof now) && !strcmp(now, before), "in %s, was in %s", now, before);
  CHECK(umask(0) == 027, "the umask");
  CHECK(personality(0xffffffff) == usual, "the personality");
  return pass();
}
