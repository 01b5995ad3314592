// A pipe with both ends inside the program and bytes in it: the bytes are still there, once, in
// order; the buffer size and O_NONBLOCK are kept, and end of file comes when the last writing end
// is closed.
#include "selfcheck.h"

#include <fcntl.h>

int main(void) {
  int small[2], large[2], packets[2];
  unsigned char data[40000], now[40001];
  MUST(pipe2(small, O_CLOEXEC));
  MUST(pipe2(large, O_NONBLOCK));
  MUST(pipe2(packets, O_DIRECT));
  int copy = dup(small[1]);
  MUST(copy);
  int size = fcntl(large[1], F_SETPIPE_SZ, 1 << 18);
  MUST(size);
  fill(data, sizeof data, seed());
  CHECK(write(small[1], data, 1234) == 1234 && write(small[1], data + 1234, 66) == 66, "write");
  CHECK(write(large[1], data, sizeof data) == sizeof data, "write");
  CHECK(write(packets[1], "one", 3) == 3 && write(packets[1], "three", 5) == 5, "write");
  ready();
  wait_line();
  CHECK(read(small[0], now, 4000) == 1300 && !memcmp(now, data, 1300), "bytes of the small pipe");
  CHECK(fcntl(small[0], F_GETFD) & FD_CLOEXEC, "close-on-exec");
  CHECK(!(fcntl(small[0], F_GETFL) & O_NONBLOCK) && (fcntl(large[0], F_GETFL) & O_NONBLOCK),
        "O_NONBLOCK");
  CHECK(fcntl(large[0], F_GETPIPE_SZ) == size, "pipe size %d, was %d",
        fcntl(large[0], F_GETPIPE_SZ), size);
  CHECK(read(large[0], now, sizeof now) == sizeof data && !memcmp(now, data, sizeof data),
        "bytes of the large pipe");
  CHECK(read(large[0], now, 1) == -1 && errno == EAGAIN, "the large pipe is not empty");
  CHECK(read(packets[0], now, 100) == 3 && read(packets[0], now, 100) == 5, "packets");
  CHECK(write(copy, "again", 5) == 5 && read(small[0], now, 100) == 5,
        "a duplicate of the writing end");
  close(small[1]);
  close(copy);
  CHECK(read(small[0], now, 1) == 0, "no end of file");
  return pass();
}
