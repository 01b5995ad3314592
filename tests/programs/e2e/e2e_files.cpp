// Reads one file and writes another one, half before the save and half after it.
//
// usage: e2e_files IN OUT        IN holds two records of 8 bytes; OUT must exist
// Prints `value RECORD`, READY, `value RECORD`, the nonce, PASS. OUT gets both records and the
// nonce behind what it holds. Exit status 13.
//
// ckpt-build: no-static no-nopie
#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "e2e_common.h"

static void copy_record(int in, int out) {
  char record[9] = {};
  if (read(in, record, 8) != 8) {
    fail("read");
  }
  if (write(out, record, 8) != 8) {
    fail("write");
  }
  std::printf("value %s\n", record);
  std::fflush(stdout);
}

void middle() {
  asm volatile("");  // in the middle
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fail("usage: e2e_files IN OUT");
  }
  draw_nonce();
  int in = open(argv[1], O_RDONLY);
  int out = open(argv[2], O_RDWR | O_APPEND);
  if (in < 0 || out < 0) {
    fail("open");
  }
  copy_record(in, out);
  say("READY");
  middle();
  copy_record(in, out);
  char line[32];
  std::snprintf(line, sizeof line, "%016llx", static_cast<unsigned long long>(nonce));
  if (write(out, line, 16) != 16) {
    fail("write");
  }
  // What it wrote must be there for itself to read, wherever the file is now.
  char back[32] = {};
  off_t end = lseek(out, 0, SEEK_END);
  if (pread(out, back, 32, end - 32) != 32 || std::memcmp(back + 16, line, 16) != 0) {
    fail("the output file does not hold what was written");
  }
  std::printf("value %.16s\n", back);
  say_nonce();
  say("PASS");
  return 13;
}
