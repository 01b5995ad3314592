// An open file that has no name any more (unlinked, O_TMPFILE) keeps its content; so does a private
// mapping of it, which shows what is written to the file where it was not written to itself.
#include "selfcheck.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { BYTES = 12288 };

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: unlinked_file DIRECTORY");
  char path[1024];
  unsigned char* data = malloc(BYTES);
  fill(data, BYTES, seed());
  snprintf(path, sizeof path, "%s/unlinked-%s", argv[1], selfcheck_nonce);
  int named = open(path, O_RDWR | O_CREAT | O_EXCL, 0640);
  MUST(named);
  MUST(unlink(path));
  int nameless = open(argv[1], O_TMPFILE | O_RDWR | O_NOFOLLOW, 0600);
  if (nameless == -1) nameless = named;  // not every file system has them
  CHECK(write(named, data, BYTES) == BYTES, "write");
  if (nameless != named) CHECK(write(nameless, data, BYTES) == BYTES, "write");
  unsigned char* mapped = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, named, 0);
  MUST(mapped);
  mapped[4096] ^= 0xff;
  lseek(named, 100, SEEK_SET);
  ready();
  wait_line();
  CHECK(mapped[4096] == (data[4096] ^ 0xff), "the modified page of the mapping");
  mapped[4096] ^= 0xff;
  CHECK(!memcmp(mapped, data, BYTES), "the mapping's content");
  CHECK(lseek(named, 0, SEEK_CUR) == 100 &&
            lseek(nameless, 0, SEEK_CUR) == (nameless == named ? 100 : BYTES),
        "offsets");
  unsigned char* now = malloc(BYTES + 1);
  CHECK(pread(named, now, BYTES + 1, 0) == BYTES && !memcmp(now, data, BYTES),
        "content of the unlinked file");
  CHECK(pread(nameless, now, BYTES + 1, 0) == BYTES && !memcmp(now, data, BYTES),
        "content of the nameless file");
  CHECK(write(named, "more", 4) == 4, "write");
  CHECK(!memcmp(mapped + 100, "more", 4), "the mapping does not show what was written to the file");
  unsigned char* shared = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, named, 0);
  MUST(shared);
  shared[4096] = shared[8192] = 0x55;
  CHECK(mapped[8192] == 0x55, "the mapping does not show what was written by another");
  CHECK(mapped[4096] == data[4096], "a page that was the mapping's own");
  return pass();
}
