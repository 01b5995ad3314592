// Descriptors of character devices and directories behave as before: /dev/null swallows, /dev/zero
// gives zeros, /dev/urandom random bytes, /dev/full no space; a directory stream goes on;
// /proc/self files are about this process.
#include "selfcheck.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static void is_device(int fd, unsigned major_number, unsigned minor_number) {
  struct stat status;
  MUST(fstat(fd, &status));
  CHECK(S_ISCHR(status.st_mode) && major(status.st_rdev) == major_number &&
            minor(status.st_rdev) == minor_number,
        "fd %d is %#x %u:%u", fd, status.st_mode, major(status.st_rdev), minor(status.st_rdev));
}

int main(void) {
  int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDONLY),
      random_fd = open("/dev/urandom", O_RDONLY);
  int full = open("/dev/full", O_WRONLY), directory = open("/usr/share", O_RDONLY | O_DIRECTORY);
  int path_only = open("/usr/share", O_PATH);
  MUST(null);
  MUST(zero);
  MUST(random_fd);
  MUST(full);
  MUST(directory);
  MUST(path_only);
  ready();
  wait_line();
  char bytes[64];
  is_device(null, 1, 3);
  is_device(zero, 1, 5);
  is_device(full, 1, 7);
  is_device(random_fd, 1, 9);
  CHECK(write(null, bytes, 64) == 64 && read(null, bytes, 64) == 0, "/dev/null");
  memset(bytes, 1, sizeof bytes);
  CHECK(read(zero, bytes, 64) == 64 && first_nonzero(bytes, 64) < 0, "/dev/zero");
  CHECK(read(random_fd, bytes, 64) == 64 && first_nonzero(bytes, 64) >= 0, "/dev/urandom");
  CHECK(write(full, bytes, 1) == -1 && errno == ENOSPC, "/dev/full");
  struct stat status, wanted;
  MUST(stat("/usr/share", &wanted));
  MUST(fstat(directory, &status));
  CHECK(status.st_ino == wanted.st_ino && S_ISDIR(status.st_mode), "the directory");
  int below = openat(directory, "doc", O_RDONLY | O_DIRECTORY);
  CHECK(below >= 0 || errno == ENOENT, "openat: %s", strerror(errno));
  MUST(fstat(path_only, &status));
  CHECK(status.st_ino == wanted.st_ino && (fcntl(path_only, F_GETFL) & O_PATH),
        "the O_PATH descriptor");
  return pass();
}
