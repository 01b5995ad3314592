// usage: open_file HOW FILE. An open regular file: its offset, flags and content are those of the
// save, whatever happened to FILE meanwhile; the test looks at FILE itself afterwards.
//   read     opened for reading (and no link was to be followed), offset in the middle
//   write    opened for reading and writing, offset in the middle; writes there after the restore
//   append   O_APPEND: writes go to the end as it was at the save
//   dup      two descriptors share one offset, a third has its own; close-on-exec, O_NONBLOCK
//   stdio    a FILE* with bytes already in its buffer
//   many     120 descriptors of the same file at different offsets, with gaps in their numbers
#include "selfcheck.h"

#include <fcntl.h>
#include <sys/stat.h>

static char* content;
static size_t size;

static void load(const char* path) {
  int fd = open(path, O_RDONLY);
  MUST(fd);
  struct stat status;
  MUST(fstat(fd, &status));
  size = (size_t)status.st_size;
  content = malloc(size + 4096);
  CHECK(read(fd, content, size) == (ssize_t)size, "read");
  close(fd);
  CHECK(size >= 1000, "the file is too small");
}

static void same_content(int fd, size_t bytes) {
  struct stat status;
  MUST(fstat(fd, &status));
  CHECK((size_t)status.st_size == bytes, "the file has %zu bytes, had %zu", (size_t)status.st_size,
        bytes);
  char* now = malloc(bytes + 1);
  ssize_t got = pread(fd, now, bytes + 1, 0);
  CHECK(got == (ssize_t)bytes, "pread gives %zd of %zu: %s", got, bytes, strerror(errno));
  for (size_t i = 0; i < bytes; i++)
    CHECK(now[i] == content[i], "byte %zu is %#x, was %#x", i, now[i], content[i]);
  free(now);
}

static void at(int fd, off_t wanted) {
  off_t offset = lseek(fd, 0, SEEK_CUR);
  CHECK(offset == wanted, "fd %d: offset %ld, was %ld", fd, (long)offset, (long)wanted);
}

static void check_read(int fd) {
  at(fd, (off_t)size / 2);
  char byte;
  CHECK(read(fd, &byte, 1) == 1 && byte == content[size / 2], "the next byte");
  same_content(fd, size);
}

int main(int argc, char** argv) {
  CHECK(argc == 3, "usage: open_file HOW FILE");
  const char *how = argv[1], *path = argv[2];
  seed();
  load(path);
  off_t middle = (off_t)size / 2;
  if (!strcmp(how, "read")) {
    int fd = open(path, O_RDONLY | O_NOFOLLOW);
    MUST(fd);
    lseek(fd, middle, SEEK_SET);
    ready();
    wait_line();
    check_read(fd);
    CHECK((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY, "flags %#x", fcntl(fd, F_GETFL));
    CHECK(write(fd, "x", 1) == -1 && errno == EBADF,
          "a descriptor opened for reading can be written");
  } else if (!strcmp(how, "write")) {
    int fd = open(path, O_RDWR);
    MUST(fd);
    lseek(fd, middle, SEEK_SET);
    CHECK(write(fd, selfcheck_nonce, 16) == 16,
          "write");  // changes made before the save are part of it
    memcpy(content + middle, selfcheck_nonce, 16);
    ready();
    wait_line();
    at(fd, middle + 16);
    same_content(fd, size);
    CHECK(write(fd, "after", 5) == 5, "write: %s", strerror(errno));
    memcpy(content + middle + 16, "after", 5);
    same_content(fd, size);
    at(fd, middle + 21);
  } else if (!strcmp(how, "append")) {
    int fd = open(path, O_RDWR | O_APPEND);
    MUST(fd);
    CHECK(write(fd, "before\n", 7) == 7, "write");
    memcpy(content + size, "before\n", 7);
    size += 7;
    ready();
    wait_line();
    CHECK(fcntl(fd, F_GETFL) & O_APPEND, "O_APPEND was lost");
    same_content(fd, size);
    CHECK(write(fd, "after\n", 6) == 6, "write: %s", strerror(errno));
    memcpy(content + size, "after\n", 6);
    size += 6;
    same_content(fd, size);
  } else if (!strcmp(how, "dup")) {
    int first = open(path, O_RDONLY), shared = dup(first),
        high = fcntl(first, F_DUPFD_CLOEXEC, 200);
    int own = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    MUST(first);
    MUST(high);
    MUST(own);
    lseek(first, middle, SEEK_SET);
    lseek(own, 17, SEEK_SET);
    ready();
    wait_line();
    at(first, middle);
    at(shared, middle);
    at(high, middle);
    at(own, 17);
    lseek(shared, 33, SEEK_SET);
    at(first, 33);
    at(high, 33);
    at(own, 17);
    CHECK(!(fcntl(first, F_GETFD) & FD_CLOEXEC) && (fcntl(high, F_GETFD) & FD_CLOEXEC) &&
              (fcntl(own, F_GETFD) & FD_CLOEXEC) && !(fcntl(shared, F_GETFD) & FD_CLOEXEC),
          "close-on-exec flags");
    CHECK(!(fcntl(first, F_GETFL) & O_NONBLOCK) && (fcntl(own, F_GETFL) & O_NONBLOCK),
          "O_NONBLOCK");
    same_content(high, size);
  } else if (!strcmp(how, "stdio")) {
    FILE* file = fopen(path, "r");
    CHECK(file, "fopen");
    for (size_t i = 0; i < 500; i++) CHECK(fgetc(file) == (unsigned char)content[i], "byte %zu", i);
    ready();
    wait_line();
    for (size_t i = 500; i < size; i++)
      CHECK(fgetc(file) == (unsigned char)content[i], "byte %zu after", i);
    CHECK(fgetc(file) == EOF && feof(file), "no end of file");
  } else if (!strcmp(how, "many")) {
    enum { COUNT = 120 };
    int fds[COUNT];
    for (int i = 0; i < COUNT; i++) {
      int fd = open(path, O_RDONLY);
      MUST(fd);
      MUST(fds[i] = fcntl(fd, F_DUPFD, 10 + i * 7));
      close(fd);
      lseek(fds[i], i * 3, SEEK_SET);
    }
    char was_open[1024];  // those that the program inherited, too
    for (int fd = 0; fd < 1024; fd++) was_open[fd] = fcntl(fd, F_GETFD) != -1;
    ready();
    wait_line();
    for (int i = 0; i < COUNT; i++) at(fds[i], i * 3);
    for (int i = 0; i < COUNT; i++) {
      lseek(fds[i], 900 - i, SEEK_SET);
      for (int k = i + 1; k < COUNT; k++) at(fds[k], k * 3);
    }
    for (int fd = 0; fd < 1024; fd++)
      CHECK(was_open[fd] == (fcntl(fd, F_GETFD) != -1), "fd %d is %s", fd,
            was_open[fd] ? "closed" : "open and was not");
  } else {
    FAIL("unknown: %s", how);
  }
  return pass();
}
