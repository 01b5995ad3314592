// A thread with a working directory, a umask and a personality of its own, or with a table of
// descriptors, or in a namespace of its own; or threads that share all that with each other, but no longer with
// the main one, which has ended. `gone`: the directory is removed before the restore.
//
// usage: thr_place fs | gone | files | names | ended
#include "../selfcheck.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/stat.h>

static int to_thread[2], from_thread[2];
static int flags = CLONE_FS;
static const char* place = "/usr";
static char before[1000];

static void* work(void* unused) {
  char byte = 'x', directory[200];
  (void)unused;
  if (unshare(flags)) SKIP("unshare: %s", strerror(errno));
  if (flags == CLONE_FS) {
    MUST(chdir(place));
    umask(0123);
    MUST(personality(ADDR_COMPAT_LAYOUT));
  }
  CHECK(write(from_thread[1], &byte, 1) == 1, "set-up: write");
  CHECK(read(to_thread[0], &byte, 1) == 1, "read: %s", strerror(errno));
  if (flags != CLONE_FS) return NULL;
  if (access(place, F_OK)) place = before;
  CHECK(getcwd(directory, sizeof directory) && !strcmp(directory, place), "it is in %s",
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
  char byte, now[1000];
  pthread_t thread;
  CHECK(argc == 2, "usage: thr_place fs | gone | files | names | ended");
  if (!strcmp(argv[1], "ended")) {
    CHECK(!pthread_create(&thread, NULL, go_on, NULL), "set-up: pthread_create");
    CHECK(!pthread_create(&thread, NULL, go_on, argv), "set-up: pthread_create");
    pthread_exit(NULL);
  }
  if (!strcmp(argv[1], "files")) flags = CLONE_FILES;
  if (!strcmp(argv[1], "names")) flags = CLONE_NEWUTS;
  if (!strcmp(argv[1], "gone")) MUST(mkdir(place = "gone", 0700));
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
