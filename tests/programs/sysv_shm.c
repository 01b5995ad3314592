// usage: sysv_shm once|twice|parts|read_only|kept|keyed|family. A System V shared memory segment: `twice` is
// attached a second time, of `parts` a part is detached by munmap and another one protected, `kept`
// is not removed before the end, nor is `keyed`, which others find by its key, of a `family` a child has it, too.
#include "selfcheck.h"

#include <sys/shm.h>
#include <sys/wait.h>

enum { PAGE = 4096, BYTES = 64 * PAGE - 100 };

int main(int argc, char** argv) {
  const char* how = argc > 1 ? argv[1] : "";
  seed();
  const int keyed = !strcmp(how, "keyed"), kept = keyed || !strcmp(how, "kept");
  int id = shmget(keyed ? 0x51000000 + getpid() : IPC_PRIVATE, BYTES, IPC_CREAT | 0640);
  MUST(id);
  unsigned char *first = shmat(id, NULL, 0), *second = NULL;
  CHECK(first != (void*)-1, "shmat");
  fill(first, 30 * PAGE, seed());  // the others are never touched, except:
  fill(first + 48 * PAGE, PAGE, seed() + 1);
  int attached = 1;
  if (!strcmp(how, "twice") || !strcmp(how, "read_only")) {
    second = shmat(id, NULL, how[0] == 'r' ? SHM_RDONLY : 0);
    CHECK(second != (void*)-1, "shmat");
    attached = 2;
  }
  if (!strcmp(how, "parts")) {
    MUST(munmap(first, PAGE));
    MUST(munmap(first + 60 * PAGE, 2 * PAGE));
    MUST(mprotect(first + 50 * PAGE, PAGE, PROT_READ));
  }
  if (!kept) MUST(shmctl(id, IPC_RMID, NULL));
  if (!strcmp(how, "family") && fork() == 0) {
    MUST(prctl(PR_SET_PDEATHSIG, SIGKILL));
    for (;;) pause();
  }
  ready();
  wait_line();
  if (strcmp(how, "parts") != 0) {
    CHECK(first_difference(first, 30 * PAGE, seed()) < 0, "content");
    CHECK(first_nonzero(first + 30 * PAGE, 18 * PAGE) < 0, "untouched pages");
  }
  CHECK(first_difference(first + 48 * PAGE, PAGE, seed() + 1) < 0, "content of page 48");
  if (second) {
    CHECK(!memcmp(first, second, BYTES), "two attachments of one segment differ");
    for (int i = 2; i < 20; i++) {
      first[i * PAGE + 7] = (unsigned char)(i * 3);
      CHECK(second[i * PAGE + 7] == i * 3, "page %d is no longer shared", i);
    }
    MUST(shmdt(second));
    attached--;
  }
  // An IPC namespace of its own is not for every user.
  if (keyed && getenv("CKPT_TEST_SAME_ID"))
    CHECK(shmget(0x51000000 + getpid(), BYTES, 0) == id, "the key gives %d instead of %d: %s",
          shmget(0x51000000 + getpid(), BYTES, 0), id, strerror(errno));
  // The program's number may be another segment's now, or nobody's; it says nothing of ours then.
  struct shmid_ds status;
  if (getenv("CKPT_TEST_SAME_ID")) {
    MUST(shmctl(id, IPC_STAT, &status));
    if (strcmp(how, "parts") != 0)
      CHECK((int)status.shm_nattch == attached, "attached %d times", (int)status.shm_nattch);
    CHECK(status.shm_segsz == BYTES, "%zu bytes", status.shm_segsz);
    CHECK((status.shm_perm.mode & 0777) == 0640, "mode %o", status.shm_perm.mode);
    unsigned char* again = shmat(id, NULL, 0);
    CHECK(again != (void*)-1 && !memcmp(again + 2 * PAGE, first + 2 * PAGE, 20 * PAGE),
          "attached once more");
  }
  pid_t child = fork();
  MUST(child);
  if (!child) {
    first[3 * PAGE + 11] = 98;
    _exit(0);
  }
  int result;
  MUST(waitpid(child, &result, 0));
  CHECK(first[3 * PAGE + 11] == 98, "not shared with a child");
  fill(first + PAGE, 40 * PAGE, seed() + 2);
  MUST(madvise(first + PAGE, 40 * PAGE, MADV_DONTNEED));
  CHECK(first_difference(first + PAGE, 40 * PAGE, seed() + 2) < 0, "lost its content");
  if (strcmp(how, "parts") != 0) MUST(shmdt(first));
  if (kept) shmctl(id, IPC_RMID, NULL);
  return pass();
}
