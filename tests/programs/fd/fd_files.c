// Files in memory, files without names, locks, owners, FIFOs, own /proc files, inotify,
// fanotify.
#include "fd.h"

#include <dirent.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <mqueue.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

static int fd = -1, other = -1, ends[2];
static char path[300];
static unsigned char* memory;

static const char* in_directory(const char* name) {
  const char* directory = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
  seed();
  snprintf(path, sizeof path, "%s/f-%.8s-%s", directory, selfcheck_nonce, name);
  return path;
}
static void make_file(const char* text) {
  MUST(fd = open(in_directory("file"), O_RDWR | O_CREAT | O_EXCL, 0600));
  put_bytes(fd, text);
}

// Of files without a name, which come back as others.
static int has_extended, has_hint;  // what the file system knows
static int file_flags;
static void set_attributes(void) {
  const struct timespec times[2] = {{1000000000, 0}, {1234567890, 123456789}};
  uint64_t hint = 2;  // RWH_WRITE_LIFE_SHORT
  MUST(fchmod(fd, 0451));
  has_extended = fsetxattr(fd, "user.ckpt", "value", 5, 0) == 0;
  has_hint = fcntl(fd, F_SET_RW_HINT, &hint) == 0;
  if (ioctl(fd, FS_IOC_GETFLAGS, &file_flags) == 0) {
    file_flags |= FS_NODUMP_FL;
    if (ioctl(fd, FS_IOC_SETFLAGS, &file_flags)) file_flags = 0;
  }
  MUST(futimens(fd, times));
}
static void expect_attributes(void) {
  char value[9];
  uint64_t hint = 0;
  int flags = 0;
  CHECK(!has_extended ||
            (fgetxattr(fd, "user.ckpt", value, sizeof value) == 5 && !memcmp(value, "value", 5)),
        "extended attribute");
  CHECK(!has_hint || (!fcntl(fd, F_GET_RW_HINT, &hint) && hint == 2), "hint %d", (int)hint);
  CHECK(!file_flags || (!ioctl(fd, FS_IOC_GETFLAGS, &flags) && (flags & FS_NODUMP_FL)), "flags %x",
        flags);
  struct stat status;
  MUST(fstat(fd, &status));
  CHECK((status.st_mode & 07777) == 0451, "mode %o", status.st_mode);
  CHECK(status.st_uid == geteuid() && status.st_gid == getegid(), "owner %d:%d", status.st_uid,
        status.st_gid);
  CHECK(status.st_mtim.tv_sec == 1234567890 && status.st_mtim.tv_nsec == 123456789, "mtime");
}

// ---- memfd
static void memfd(void) {
  MUST(fd = memfd_create("of-the-test", MFD_CLOEXEC));
  put_bytes(fd, "in memory only");
  set_attributes();
  MUST(lseek(fd, 3, SEEK_SET));
}
static void check_memfd(void) {
  expect_attributes();
  char link[100] = "", from[50];
  snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
  MUST(readlink(from, link, sizeof link - 1));
  CHECK(!strcmp(link, "/memfd:of-the-test (deleted)"), "its name is %s", link);
  CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC, "close-on-exec");
  expect_bytes(fd, "memory only");
  CHECK(fcntl(fd, F_GET_SEALS) == F_SEAL_SEAL, "it may be sealed");
}
static void memfd_mapped(void) {
  MUST(fd = memfd_create("mapped", 0));
  MUST(ftruncate(fd, 3 * 4096));
  memory = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(memory != MAP_FAILED, "set-up: mmap");
  fill(memory, 4096, seed());
}
static void check_memfd_mapped(void) {
  char now[8];
  CHECK(first_difference(memory, 4096, seed()) < 0, "content of the mapping");
  memcpy(memory + 5000, "by store", 8);
  CHECK(pread(fd, now, 8, 5000) == 8 && !memcmp(now, "by store", 8), "not seen in the file");
  CHECK(pwrite(fd, "by write", 8, 9000) == 8 && !memcmp(memory + 9000, "by write", 8),
        "not seen in the mapping");
}
static void memfd_two_mappings(void) {
  memfd_mapped();
  other = 0;
  unsigned char* second = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 4096);
  CHECK(second != MAP_FAILED, "set-up: mmap");
  memcpy(memory + 100, &second, sizeof second);
  MUST(close(fd));
}
static void check_memfd_two_mappings(void) {
  unsigned char* second;
  memcpy(&second, memory + 100, sizeof second);
  memory[4096 + 7] = 99;
  CHECK(second[7] == 99, "the mappings are not of one file any more");
}
static void memfd_sealed(void) {
  MUST(fd = memfd_create("sealed", MFD_ALLOW_SEALING));
  put_bytes(fd, "for ever");
  MUST(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW));
}
static void check_memfd_sealed(void) {
  CHECK(fcntl(fd, F_GET_SEALS) == (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), "seals %x",
        fcntl(fd, F_GET_SEALS));
  CHECK(pwrite(fd, "x", 1, 0) == -1 && errno == EPERM, "it can be written");
  MUST(lseek(fd, 0, SEEK_SET));
  expect_bytes(fd, "for ever");
  MUST(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
}
static void memfd_read_only(void) {
  char link[50];
  MUST(fd = memfd_create("twice", MFD_ALLOW_SEALING));
  put_bytes(fd, "content");
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  MUST(other = open(link, O_RDONLY));
}
static void check_memfd_read_only(void) {
  CHECK(write(other, "x", 1) == -1 && errno == EBADF, "the second is writable");
  CHECK(pwrite(fd, "C", 1, 0) == 1, "the first is not");
  expect_bytes(other, "Content");
}

// ---- files without names
static void nameless(void) {
  const char* directory = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
  fd = open(directory, O_TMPFILE | O_RDWR, 0600);
  if (fd < 0) SKIP("O_TMPFILE: %s", strerror(errno));
  put_bytes(fd, "no name");
}
static void check_nameless(void) {
  CHECK((fcntl(fd, F_GETFL) & O_TMPFILE) == O_TMPFILE, "flags %o", fcntl(fd, F_GETFL));
  MUST(lseek(fd, 0, SEEK_SET));
  expect_bytes(fd, "no name");
  put_bytes(fd, " at all");
}
static void removed(void) {
  make_file("removed");
  MUST(other = open(path, O_RDONLY));
  MUST(unlink(path));
  MUST(ftruncate(fd, 10000));
  memory = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(memory != MAP_FAILED, "set-up: mmap");
  set_attributes();
}
static void check_removed(void) {
  expect_attributes();
  char now[8] = "";
  memcpy(memory, "REMOVED", 7);
  CHECK(pread(fd, now, 7, 0) == 7 && !strcmp(now, "REMOVED"), "not seen in the first");
  CHECK(pread(other, now, 7, 0) == 7 && !strcmp(now, "REMOVED"), "not seen in the second");
  struct stat status;
  CHECK(!fstat(fd, &status) && status.st_nlink == 0 && status.st_size == 10000, "fstat");
}
static void removed_links(void) {
  char first[4096];
  make_file("removed-links");
  snprintf(first, sizeof first, "%s", path);
  MUST(link(first, in_directory("removed-links-2")));
  MUST(other = open(path, O_RDONLY));
  MUST(unlink(path));
  MUST(unlink(first));
}
static void check_removed_links(void) {
  struct stat first, second;
  MUST(fstat(fd, &first));
  MUST(fstat(other, &second));
  CHECK(first.st_dev == second.st_dev && first.st_ino == second.st_ino, "two files by now");
  char now[4] = "";
  CHECK(pwrite(fd, "new", 3, 100) == 3 && pread(other, now, 3, 100) == 3 && !strcmp(now, "new"),
        "not seen by the other descriptor");
}
// What has a name may be opened by another, and is one file still.
static void two_names(void) {
  char first[4096];
  make_file("one file");
  snprintf(first, sizeof first, "%s", path);
  MUST(link(first, in_directory("second-name")));
  MUST(other = open(path, O_RDWR));
}
static void check_two_names(void) {
  struct stat first, second;
  MUST(fstat(fd, &first));
  MUST(fstat(other, &second));
  CHECK(first.st_dev == second.st_dev && first.st_ino == second.st_ino, "two files by now");
  char now[9] = "";
  CHECK(pread(other, now, 8, 0) == 8 && !strcmp(now, "one file"), "content %s", now);
  CHECK(pwrite(fd, "new", 3, 100) == 3 && pread(other, now, 3, 100) == 3, "not seen");
}
static void executed(void) {
  MUST(fd = memfd_create("script", 0));
  put_bytes(fd, "#!/bin/true");
}
static void check_executed(void) {
  int status = -1;
  char* arguments[] = {"script", NULL};
  char* environment[] = {NULL};
  pid_t child = fork();
  if (child == 0) {
    syscall(SYS_execveat, fd, "", arguments, environment, AT_EMPTY_PATH);
    _exit(errno);
  }
  MUST(waitpid(child, &status, 0));
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", strerror(WEXITSTATUS(status)));
  put_bytes(fd, "\n");
}
// The place of a file that has no name.
static void nameless_place(void) {
  char link[64];
  removed();
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  MUST(ends[0] = open(link, O_PATH));
  MUST(fd = memfd_create("place", MFD_ALLOW_SEALING));
  MUST(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  MUST(ends[1] = open(link, O_PATH));
  MUST(dup2(ends[1], other));
  MUST(dup2(fd, ends[1]));
}
static void check_nameless_place(void) {
  struct stat memfd, at, file;
  char byte;
  MUST(fstat(ends[1], &memfd));
  MUST(fstat(other, &at));
  MUST(fstat(ends[0], &file));
  CHECK(memfd.st_ino == at.st_ino && memfd.st_dev == at.st_dev, "the place of another memfd");
  CHECK(S_ISREG(file.st_mode) && file.st_size == 10000 && file.st_nlink == 0, "%o", file.st_mode);
  CHECK(read(ends[0], &byte, 1) == -1 && errno == EBADF, "read: %s", strerror(errno));
  CHECK(fcntl(fd, F_GET_SEALS) == F_SEAL_GROW, "seals %x", fcntl(fd, F_GET_SEALS));
}
static void sparse(void) {
  make_file("head");
  CHECK(pwrite(fd, "tail", 4, 40 << 20) == 4, "set-up: write");
}
static void check_sparse(void) {
  char now[5] = "";
  struct stat status;
  MUST(fstat(fd, &status));
  CHECK(status.st_size == (40 << 20) + 4 && status.st_blocks < 1000, "%ld blocks",
        (long)status.st_blocks);
  CHECK(pread(fd, now, 4, 40 << 20) == 4 && !strcmp(now, "tail"), "tail");
  CHECK(lseek(fd, 0, SEEK_CUR) == 4, "offset");
}
// Nothing may go through it byte by byte.
static void enormous(void) {
  MUST(fd = memfd_create("enormous", 0));
  MUST(ftruncate(fd, 1L << 40));
  CHECK(pwrite(fd, "far", 3, (1L << 40) - 3) == 3, "set-up: write");
}
static void check_enormous(void) {
  char now[5] = "";
  struct stat status;
  MUST(fstat(fd, &status));
  CHECK(status.st_size == 1L << 40 && status.st_blocks < 1000, "%ld bytes", (long)status.st_size);
  CHECK(pread(fd, now, 5, (1L << 40) - 3) == 3 && !strcmp(now, "far"), "the end");
}
static void appending(void) {
  MUST(fd = open(in_directory("log"), O_WRONLY | O_CREAT | O_APPEND, 0600));
  put_bytes(fd, "one\n");
}
static void check_appending(void) {
  CHECK(fcntl(fd, F_GETFL) & O_APPEND, "O_APPEND");
  MUST(other = open(path, O_RDONLY));
  put_bytes(fd, "two\n");
  CHECK(lseek(fd, 0, SEEK_CUR) == 8, "offset %ld", (long)lseek(fd, 0, SEEK_CUR));
}
static void directory(void) {
  MUST(fd = open("/etc", O_RDONLY | O_DIRECTORY));
  MUST(other = openat(fd, "passwd", O_RDONLY));
}
static void check_directory(void) {
  int again = openat(fd, "passwd", O_RDONLY);
  CHECK(again >= 0, "openat: %s", strerror(errno));
  MUST(fchdir(fd));
}
// Twice open, and where the program is.
static void removed_directory(void) {
  MUST(mkdir(in_directory("removed"), 0700));
  MUST(fd = open(path, O_RDONLY | O_DIRECTORY));
  MUST(other = open(path, O_PATH | O_DIRECTORY));
  MUST(fchmod(fd, 0710));
  MUST(chdir(path));
  MUST(rmdir(path));
}
static void check_removed_directory(void) {
  struct stat one, two, here;
  char text[300];
  MUST(fstat(fd, &one));
  MUST(fstat(other, &two));
  MUST(stat(".", &here));
  CHECK(one.st_nlink == 0 && one.st_mode == (S_IFDIR | 0710), "%d links, mode %o",
        (int)one.st_nlink, one.st_mode);
  CHECK(one.st_ino == two.st_ino && one.st_ino == here.st_ino, "three inodes: %ld %ld %ld",
        (long)one.st_ino, (long)two.st_ino, (long)here.st_ino);
  CHECK(openat(fd, "new", O_WRONLY | O_CREAT, 0600) == -1 && errno == ENOENT, "openat: %s",
        strerror(errno));
  CHECK(!getcwd(text, sizeof text) && errno == ENOENT, "getcwd: %s", strerror(errno));
  CHECK(read(other, text, 1) == -1 && errno == EBADF, "read by O_PATH: %s", strerror(errno));
  MUST(chdir("/"));
  MUST(fchdir(other));
}
static void own_proc(void) {
  MUST(fd = open("/proc/self/stat", O_RDONLY));
  MUST(other = open("/proc/self", O_RDONLY | O_DIRECTORY));
}
static void check_own_proc(void) {
  char text[50] = "";
  CHECK(pread(fd, text, 49, 0) > 0, "read: %s", strerror(errno));
  int inner = openat(other, "comm", O_RDONLY);
  CHECK(inner >= 0, "openat: %s", strerror(errno));
  // The kernel's number, whatever getpid() says.
  char link[50] = "";
  MUST(readlink("/proc/self", link, 49));
  CHECK(atoi(text) == atoi(link), "it is of process %d, not of %s", atoi(text), link);
}

// By the number of a thread alone, which /proc does not list.
static int to_thread[2];
static pid_t thread_id;
static void* wait_for_a_byte(void* unused) {
  char byte;
  (void)unused;
  prctl(PR_SET_NAME, "by its number");
  __atomic_store_n(&thread_id, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
  return (void*)(long)read(to_thread[0], &byte, 1);
}
static void proc_of_thread(void) {
  char name[50];
  MUST(pipe(to_thread));
  begin_helper(wait_for_a_byte);
  while (!__atomic_load_n(&thread_id, __ATOMIC_ACQUIRE)) sched_yield();
  snprintf(name, sizeof name, "/proc/%d/comm", (int)thread_id);
  MUST(fd = open(name, O_RDONLY));
}
static void check_proc_of_thread(void) {
  expect_bytes(fd, "by its number\n");
  put_bytes(to_thread[1], "x");
  CHECK(end_helper() == 1, "the thread");
}
static void proc_of_ended(void) {
  char name[50];
  const pid_t child = fork();
  MUST(child);
  if (child == 0) {
    pause();
    _exit(0);
  }
  snprintf(name, sizeof name, "/proc/%d/stat", (int)child);
  MUST(fd = open(name, O_RDONLY));
  snprintf(name, sizeof name, "/proc/%d", (int)child);
  MUST(other = open(name, O_RDONLY | O_DIRECTORY));
  MUST(kill(child, SIGKILL));
  MUST(waitpid(child, NULL, 0));
}
static void check_proc_of_ended(void) {
  char byte;
  CHECK(read(fd, &byte, 1) == -1 && errno == ESRCH, "read: %s", strerror(errno));
  CHECK(openat(other, "stat", O_RDONLY) == -1 && errno == ESRCH, "openat: %s", strerror(errno));
}
static void place_of_ended(void) {
  char name[50];
  const pid_t child = fork();
  MUST(child);
  if (child == 0) {
    pause();
    _exit(0);
  }
  snprintf(name, sizeof name, "/proc/%d", (int)child);
  MUST(chdir(name));
  MUST(kill(child, SIGKILL));
  MUST(waitpid(child, NULL, 0));
}
static void check_place_of_ended(void) {
  char text[300];
  CHECK(!getcwd(text, sizeof text) && errno == ENOENT, "getcwd: %s", strerror(errno));
  CHECK(open("stat", O_RDONLY) == -1 && errno == ESRCH, "open: %s", strerror(errno));
}
// Of the process itself, whatever its number is then.
static void place_of_itself(void) { MUST(chdir("/proc/self/task")); }
static void check_place_of_itself(void) {
  char text[50] = "", link[50] = "";
  MUST(fd = open("../stat", O_RDONLY));
  CHECK(pread(fd, text, 49, 0) > 0, "read: %s", strerror(errno));
  MUST(readlink("/proc/self", link, 49));
  CHECK(atoi(text) == atoi(link), "it is that of process %d, not of %s", atoi(text), link);
}
static void namespace(void) {
  MUST(fd = open("/proc/self/ns/net", O_RDONLY));
  MUST(other = open("/proc/self/ns/mnt", O_RDONLY));
}
static void check_namespace(void) {
  struct stat is, now;
  MUST(fstat(fd, &is));
  MUST(stat("/proc/self/ns/net", &now));
  CHECK(is.st_ino == now.st_ino, "another network");
  MUST(fstat(other, &is));
  MUST(stat("/proc/self/ns/mnt", &now));
  CHECK(is.st_ino == now.st_ino, "other mounts");
}
// Places, not what is there: of a FIFO, and of something without a name.
static void place(void) {
  MUST(mkfifo(in_directory("place"), 0600));
  MUST(fd = open(path, O_PATH));
}
static void check_place(void) {
  struct stat is;
  MUST(fstat(fd, &is));
  CHECK(S_ISFIFO(is.st_mode) && fcntl(fd, F_GETFL) == O_PATH, "mode %o, flags %x", is.st_mode,
        fcntl(fd, F_GETFL));
}
// Pipes of which nobody has the other end.
static void ended_pipes(void) {
  int out[2];
  MUST(pipe(ends));
  put_bytes(ends[1], "last words");
  MUST(close(ends[1]));
  MUST(pipe(out));
  MUST(close(out[0]));
  other = out[1];
}
static void check_ended_pipes(void) {
  char byte;
  expect_bytes(ends[0], "last words");
  CHECK(read(ends[0], &byte, 1) == 0, "no end of file");
  signal(SIGPIPE, SIG_IGN);
  CHECK(write(other, "x", 1) == -1 && errno == EPIPE, "write: %s", strerror(errno));
}
static void removed_device(void) {
  const dev_t zero = makedev(1, 5);
  if (mknod(in_directory("zero"), S_IFCHR | 0600, zero)) SKIP("mknod: %s", strerror(errno));
  MUST(chmod(path, 0640));
  MUST(chown(path, 0, 6));
  MUST(fd = open(path, O_RDONLY));
  MUST(unlink(path));
}
static void check_removed_device(void) {
  char bytes[2] = "x";
  struct stat is;
  CHECK(read(fd, bytes, 1) == 1 && bytes[0] == 0, "read: %s", strerror(errno));
  MUST(fstat(fd, &is));
  CHECK(is.st_rdev == makedev(1, 5), "device %lx", (unsigned long)is.st_rdev);
  CHECK(is.st_mode == (S_IFCHR | 0640) && is.st_gid == 6 && is.st_nlink == 0, "mode %o of %d",
        is.st_mode, (int)is.st_gid);
}
static void removed_link(void) {
  MUST(symlink("to/somewhere", in_directory("link")));
  MUST(fd = open(path, O_PATH | O_NOFOLLOW));
  MUST(unlink(path));
  MUST(mkfifo(in_directory("fifo"), 0610));
  MUST(other = open(path, O_PATH));
  MUST(unlink(path));
}
static void check_removed_link(void) {
  char target[30] = "";
  struct stat is;
  MUST(fstat(fd, &is));
  CHECK(S_ISLNK(is.st_mode) && is.st_nlink == 0, "mode %o", is.st_mode);
  MUST(readlinkat(fd, "", target, sizeof target - 1));
  CHECK(!strcmp(target, "to/somewhere"), "it leads to %s", target);
  MUST(fstat(other, &is));
  CHECK(is.st_mode == (S_IFIFO | 0610) && is.st_nlink == 0, "FIFO: mode %o", is.st_mode);
}
// In a file system that is memory.
static void removed_shared(void) {
  struct statfs system;
  char name[60];
  snprintf(name, sizeof name, "/ckpt-test-%d", (int)getpid());
  MUST(fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600));
  MUST(shm_unlink(name));
  put_bytes(fd, "in memory");
  MUST(fstatfs(fd, &system));
  if (system.f_type != TMPFS_MAGIC) SKIP("/dev/shm is no tmpfs");
}
static void check_removed_shared(void) {
  struct statfs system;
  char now[20] = "";
  MUST(fstatfs(fd, &system));
  CHECK(system.f_type == TMPFS_MAGIC, "file system %lx", (unsigned long)system.f_type);
  CHECK(pread(fd, now, 19, 0) == 9 && !strcmp(now, "in memory"), "content %s", now);
}

// ---- FIFOs
static void fifo(void) {
  MUST(mkfifo(in_directory("fifo"), 0600));
  MUST(fd = open(path, O_RDONLY | O_NONBLOCK));
  MUST(other = open(path, O_WRONLY));
  put_bytes(other, "through the FIFO");
}
static void check_fifo(void) {
  expect_bytes(fd, "through the FIFO");
  CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK, "O_NONBLOCK");
  int third = open(path, O_WRONLY | O_NONBLOCK);
  CHECK(third >= 0, "nobody reads from the FIFO's name: %s", strerror(errno));
  put_bytes(third, "by name");
  expect_bytes(fd, "by name");
}

static void fifo_nameless(void) {
  fifo();
  MUST(fchmod(fd, 0620));
  MUST(unlink(path));
}
static void check_fifo_nameless(void) {
  struct stat status;
  MUST(fstat(fd, &status));
  CHECK(S_ISFIFO(status.st_mode) && status.st_nlink == 0 && (status.st_mode & 0777) == 0620,
        "mode %o, %d names", status.st_mode, (int)status.st_nlink);
  expect_bytes(fd, "through the FIFO");
  CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK, "O_NONBLOCK");
  CHECK(!(fcntl(other, F_GETFL) & O_NONBLOCK), "O_NONBLOCK at the other end");
  put_bytes(other, "more");
  expect_bytes(fd, "more");
}

static void check_fifo_removed(void) {
  check_fifo();
  MUST(unlink(path));
}

// ---- message queues
static mqd_t queue;
static void make_queue(int flags) {
  struct mq_attr attributes = {.mq_maxmsg = 5, .mq_msgsize = 30};
  seed();
  snprintf(path, sizeof path, "/ckpt-test-%.8s", selfcheck_nonce);
  queue = mq_open(path, O_CREAT | O_EXCL | flags, 0600, &attributes);
  if (queue == (mqd_t)-1) SKIP("mq_open: %s", strerror(errno));
}
static void expect_message(const char* text, unsigned priority) {
  char now[30];
  unsigned is = 0;
  ssize_t got = mq_receive(queue, now, sizeof now, &is);
  CHECK(got == (ssize_t)strlen(text) && !memcmp(now, text, strlen(text)) && is == priority,
        "message of %zd bytes, priority %u", got, is);
}
static void message_queue(void) {
  make_queue(O_RDWR | O_NONBLOCK);
  MUST(mq_send(queue, "first", 5, 3));
  MUST(mq_send(queue, "second", 6, 3));
  MUST(mq_send(queue, "urgent", 6, 9));
  MUST(mq_unlink(path));
}
static void check_message_queue(void) {
  struct mq_attr attributes;
  MUST(mq_getattr(queue, &attributes));
  CHECK(attributes.mq_maxmsg == 5 && attributes.mq_msgsize == 30 && attributes.mq_curmsgs == 3 &&
            attributes.mq_flags == O_NONBLOCK,
        "attributes");
  expect_message("urgent", 9);
  expect_message("first", 3);
  expect_message("second", 3);
  char now[30];
  CHECK(mq_receive(queue, now, sizeof now, NULL) == -1 && errno == EAGAIN, "it is not empty");
}
// Opened more than once, and without a name by now.
static void shared_queue(void) {
  make_queue(O_RDWR | O_NONBLOCK);
  MUST(other = mq_open(path, O_WRONLY));
  MUST(mq_send(queue, "waits", 5, 1));
  MUST(mq_unlink(path));
}
static void check_shared_queue(void) {
  expect_message("waits", 1);
  MUST(mq_send(other, "new", 3, 1));
  expect_message("new", 1);
}
static void* receive_message(void* unused) {
  (void)unused;
  expect_message("wake up", 1);
  return (void*)1;
}
static void blocked_queue(void) {
  make_queue(O_RDWR);
  MUST(mq_unlink(path));
  begin_helper(receive_message);
}
static void check_blocked_queue(void) {
  MUST(mq_send(queue, "wake up", 7, 1));
  CHECK(end_helper() == 1, "the waiting thread");
}

// ---- locks. Another process asks for them.
static int is_free(int command, short type, off_t start, off_t length) {
  pid_t child = fork();
  MUST(child);
  if (!child) {
    int again = open(path, O_RDWR);
    struct flock lock = {.l_type = type, .l_start = start, .l_len = length};
    if (command == LOCK_EX) _exit(flock(again, LOCK_EX | LOCK_NB) ? 1 : 0);
    _exit(fcntl(again, command, &lock) ? 1 : 0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status), "waitpid");
  return WEXITSTATUS(status) == 0;
}
static void posix_lock(void) {
  make_file("locked file");
  struct flock first = {.l_type = F_WRLCK, .l_start = 2, .l_len = 3};
  struct flock second = {.l_type = F_RDLCK, .l_start = 8, .l_len = 0};
  MUST(fcntl(fd, F_SETLK, &first));
  MUST(fcntl(fd, F_SETLK, &second));
}
static void check_posix_lock(void) {
  CHECK(is_free(F_SETLK, F_WRLCK, 0, 2) && is_free(F_SETLK, F_WRLCK, 5, 3), "too much is locked");
  CHECK(!is_free(F_SETLK, F_RDLCK, 4, 1), "the write lock");
  CHECK(!is_free(F_SETLK, F_WRLCK, 100, 1) && is_free(F_SETLK, F_RDLCK, 100, 1), "the read lock");
}
static void open_file_lock(void) {
  make_file("locked file");
  struct flock lock = {.l_type = F_WRLCK, .l_start = 1, .l_len = 1};
  MUST(fcntl(fd, F_OFD_SETLK, &lock));
}
static void check_open_file_lock(void) {
  CHECK(!is_free(F_SETLK, F_RDLCK, 1, 1) && is_free(F_SETLK, F_WRLCK, 2, 1), "the lock");
}
static void whole_lock(void) {
  make_file("locked file");
  MUST(flock(fd, LOCK_EX));
}
static void check_whole_lock(void) {
  CHECK(!is_free(LOCK_EX, 0, 0, 0), "the lock");
  MUST(flock(fd, LOCK_UN));
  CHECK(is_free(LOCK_EX, 0, 0, 0), "it cannot be given back");
}
static void lease(void) {
  make_file("leased");
  MUST(close(fd));
  MUST(fd = open(path, O_RDONLY));
  MUST(fcntl(fd, F_SETLEASE, F_RDLCK));
}
static void check_lease(void) {
  CHECK(fcntl(fd, F_GETLEASE) == F_RDLCK, "the lease is %d", fcntl(fd, F_GETLEASE));
}

// A lease for writing ends when anybody opens the file, also whoever saves the program.
static volatile sig_atomic_t broken;
static void on_broken(int number) { broken += number == SIGIO; }
static void write_lease(void) {
  MUST(signal(SIGIO, on_broken) == SIG_ERR ? -1 : 0);
  make_file("leased for writing");
  MUST(fcntl(fd, F_SETLEASE, F_WRLCK));
}
static void check_write_lease(void) {
  char now[20] = "";
  CHECK(!broken, "somebody has asked for it");
  CHECK(fcntl(fd, F_GETLEASE) == F_WRLCK, "the lease is %d", fcntl(fd, F_GETLEASE));
  CHECK(pread(fd, now, 18, 0) == 18 && !strcmp(now, "leased for writing"), "\"%s\"", now);
}

// ---- names
static char other_path[sizeof path + 20];
static void linked(void) {
  make_file("linked");
  snprintf(other_path, sizeof other_path, "%s.new", path);
  MUST(link(path, other_path));
  MUST(unlink(path));
}
static void check_linked(void) {
  struct stat one, two;
  MUST(fstat(fd, &one));
  MUST(stat(other_path, &two));
  CHECK(one.st_ino == two.st_ino && one.st_dev == two.st_dev, "it is another file");
  char now[8] = "";
  CHECK(pread(fd, now, 6, 0) == 6 && strstr("linked marked", now), "\"%s\"", now);
}
static void marked(void) {
  make_file("marked");
  snprintf(other_path, sizeof other_path, "%s (deleted)", path);
  MUST(rename(path, other_path));
}
static void check_marked(void) { check_linked(); }

// ---- owners
static volatile sig_atomic_t told;
static void note(int number, siginfo_t* info, void* context) {
  (void)context;
  (void)number;
  told = info->si_code == POLL_IN ? info->si_fd : -2;
}
static void owner(void) {
  struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART};
  MUST(sigaction(SIGRTMIN + 5, &action, NULL));
  MUST(pipe(ends));
  MUST(fcntl(ends[0], F_SETOWN, getpid()));
  MUST(fcntl(ends[0], F_SETSIG, SIGRTMIN + 5));
  MUST(fcntl(ends[0], F_SETFL, O_ASYNC));
}
static void check_owner(void) {
  CHECK(fcntl(ends[0], F_GETOWN) == getpid(), "F_GETOWN says %d, this is %d",
        fcntl(ends[0], F_GETOWN), getpid());
  CHECK(fcntl(ends[0], F_GETSIG) == SIGRTMIN + 5, "F_GETSIG");
  CHECK(fcntl(ends[0], F_GETFL) == O_ASYNC && fcntl(ends[1], F_GETFL) == O_WRONLY,
        "flags %#x and %#x", fcntl(ends[0], F_GETFL), fcntl(ends[1], F_GETFL));
  put_bytes(ends[1], "x");
  CHECK(told == ends[0], "the signal: %d", (int)told);
}

// ---- inotify
static int watch[3];
static void expect_event(int number, uint32_t mask, const char* name) {
  char room[1000];
  struct inotify_event* event = (struct inotify_event*)room;
  ssize_t got = read(fd, room, sizeof room);
  CHECK(got >= (ssize_t)sizeof *event, "read: %s", strerror(errno));
  CHECK(event->wd == number && (event->mask & mask) && (!name || !strcmp(event->name, name)),
        "watch %d, events %x, %s", event->wd, event->mask, event->len ? event->name : "");
}
static void inotify(void) {
  MUST(mkdir(in_directory("watched"), 0700));
  MUST(fd = inotify_init1(IN_NONBLOCK));
  MUST(watch[0] = inotify_add_watch(fd, "/etc", IN_CREATE));
  MUST(watch[1] = inotify_add_watch(fd, "/tmp", IN_MOVE_SELF));
  MUST(watch[2] = inotify_add_watch(fd, path, IN_CREATE | IN_DELETE));
  MUST(inotify_rm_watch(fd, watch[1]));  // a gap
  char room[1000];
  MUST(read(fd, room, sizeof room));  // IN_IGNORED
  MUST(chdir(path));
}
static void check_inotify(void) {
  char room[1000];
  CHECK(read(fd, room, sizeof room) == -1 && errno == EAGAIN, "an event that nobody has caused");
  MUST(other = open("new", O_CREAT | O_RDWR, 0600));
  expect_event(watch[2], IN_CREATE, "new");
  MUST(unlink("new"));
  expect_event(watch[2], IN_DELETE, "new");
  MUST(inotify_rm_watch(fd, watch[0]));
  expect_event(watch[0], IN_IGNORED, NULL);
}

// The file has no name any more when it is saved, only a descriptor.
static void inotify_removed(void) {
  MUST(other = open(in_directory("watched"), O_CREAT | O_RDWR, 0600));
  MUST(fd = inotify_init1(IN_NONBLOCK));
  MUST(watch[0] = inotify_add_watch(fd, path, IN_CLOSE_WRITE | IN_DELETE_SELF));
  MUST(unlink(path));
}
static void check_inotify_removed(void) {
  char room[1000];
  CHECK(read(fd, room, sizeof room) == -1 && errno == EAGAIN, "an event that nobody has caused");
  put_bytes(other, "x");
  MUST(close(other));
  const ssize_t got = read(fd, room, sizeof room);
  uint32_t masks = 0;
  for (ssize_t at = 0; at < got;) {
    struct inotify_event* event = (struct inotify_event*)(room + at);
    CHECK(event->wd == watch[0], "watch %d", event->wd);
    masks |= event->mask;
    at += (ssize_t)(sizeof *event + event->len);
  }
  CHECK(masks == (IN_CLOSE_WRITE | IN_DELETE_SELF | IN_IGNORED), "events %x", masks);
}

// ---- fanotify
static void mark(unsigned flags, uint64_t mask, const char* file) {
  MUST(fanotify_mark(fd, FAN_MARK_ADD | flags, mask, AT_FDCWD, file));
}
static int group(unsigned flags) {
  int made = fanotify_init(flags | FAN_NONBLOCK, O_RDONLY | O_LARGEFILE);
  if (made < 0) SKIP("fanotify_init(%#x): %s", flags, strerror(errno));
  return made;
}
// The marks without what they are on: a file that is made again has another number.
static void marks_of(char* text, size_t bytes) {
  char name[64], line[1000];
  snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
  FILE* info = fopen(name, "r");
  CHECK(info != NULL, "%s: %s", name, strerror(errno));
  size_t length = 0;
  text[0] = 0;
  while (fgets(line, sizeof line, info)) {
    unsigned flags = 0, mask = 0, ignored = 0;
    const char* masks = strstr(line, " mflags:");
    if (strncmp(line, "fanotify ", 9)) continue;
    if (masks && sscanf(masks, " mflags:%x mask:%x ignored_mask:%x", &flags, &mask, &ignored) == 3)
      length += (size_t)snprintf(text + length, bytes - length, "%.12s %x %x %x\n", line, flags,
                                 mask, ignored);
    else
      length += (size_t)snprintf(text + length, bytes - length, "%s", line);
    CHECK(length < bytes, "too many marks");
  }
  fclose(info);
}
static char marks_before[4000];
static int has_event(void) {
  char room[4096];
  return read(fd, room, sizeof room) > 0;
}
// Without a privilege only this: events with an id of the file in place of a descriptor.
static void fanotify(void) {
  MUST(other = open(in_directory("watched"), O_CREAT | O_RDWR, 0600));
  MUST(close(other));
  fd = group(FAN_REPORT_FID);
  mark(0, FAN_CLOSE_WRITE | FAN_OPEN, path);
  MUST(mkdir(in_directory("directory"), 0700));
  mark(0, FAN_CREATE | FAN_DELETE | FAN_ONDIR, path);
  marks_of(marks_before, sizeof marks_before);
}
static void check_fanotify(void) {
  char now[4000];
  marks_of(now, sizeof now);
  CHECK(!strcmp(now, marks_before), "the marks:\n%sbefore:\n%s", now, marks_before);
  CHECK(!has_event(), "an event that nobody has caused");
  MUST(other = open(in_directory("directory/new"), O_CREAT | O_RDWR, 0600));
  CHECK(has_event(), "nothing was told");
  MUST(unlink(path));
}
// Everything that is opened on the system shows, our own included: only the marks are compared.
static void fanotify_mount(void) {
  MUST(other = open(in_directory("watched"), O_CREAT | O_RDWR, 0600));
  fd = group(FAN_CLASS_NOTIF | FAN_UNLIMITED_QUEUE);
  mark(0, FAN_MODIFY, path);
  mark(FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY, FAN_ACCESS, path);
  MUST(unlink(path));
  mark(FAN_MARK_MOUNT, FAN_OPEN_EXEC, "/proc");
  marks_of(marks_before, sizeof marks_before);
}
static void check_fanotify_mount(void) {
  char now[4000];
  marks_of(now, sizeof now);
  CHECK(!strcmp(now, marks_before), "the marks:\n%sbefore:\n%s", now, marks_before);
  CHECK(!has_event(), "an event that nobody has caused");
  put_bytes(other, "x");
  CHECK(has_event(), "nothing was told");
}

int main(int argc, char** argv) {
  static const struct subject subjects[] = {
      {"memfd", memfd, check_memfd},
      {"memfd_mapped", memfd_mapped, check_memfd_mapped},
      {"memfd_two_mappings", memfd_two_mappings, check_memfd_two_mappings},
      {"memfd_sealed", memfd_sealed, check_memfd_sealed},
      {"memfd_read_only", memfd_read_only, check_memfd_read_only},
      {"nameless", nameless, check_nameless},
      {"removed", removed, check_removed},
      {"removed_links", removed_links, check_removed_links},
      {"two_names", two_names, check_two_names},
      {"executed", executed, check_executed},
      {"nameless_place", nameless_place, check_nameless_place},
      {"sparse", sparse, check_sparse},
      {"enormous", enormous, check_enormous},
      {"appending", appending, check_appending},
      {"directory", directory, check_directory},
      {"own_proc", own_proc, check_own_proc},
      {"proc_of_thread", proc_of_thread, check_proc_of_thread},
      {"proc_of_ended", proc_of_ended, check_proc_of_ended},
      {"place_of_ended", place_of_ended, check_place_of_ended},
      {"place_of_itself", place_of_itself, check_place_of_itself},
      {"namespace", namespace, check_namespace},
      {"place", place, check_place},
      {"ended_pipes", ended_pipes, check_ended_pipes},
      {"removed_device", removed_device, check_removed_device},
      {"removed_link", removed_link, check_removed_link},
      {"removed_shared", removed_shared, check_removed_shared},
      {"removed_directory", removed_directory, check_removed_directory},
      {"fifo", fifo, check_fifo},
      {"fifo_nameless", fifo_nameless, check_fifo_nameless},
      {"fifo_removed", fifo, check_fifo_removed},
      {"message_queue", message_queue, check_message_queue},
      {"shared_queue", shared_queue, check_shared_queue},
      {"blocked_queue", blocked_queue, check_blocked_queue},
      {"posix_lock", posix_lock, check_posix_lock},
      {"open_file_lock", open_file_lock, check_open_file_lock},
      {"whole_lock", whole_lock, check_whole_lock},
      {"lease", lease, check_lease},
      {"write_lease", write_lease, check_write_lease},
      {"linked", linked, check_linked},
      {"marked", marked, check_marked},
      {"owner", owner, check_owner},
      {"inotify", inotify, check_inotify},
      {"inotify_removed", inotify_removed, check_inotify_removed},
      {"fanotify", fanotify, check_fanotify},
      {"fanotify_mount", fanotify_mount, check_fanotify_mount},
      {NULL, NULL, NULL}};
  return run_subject(argc, argv, subjects);
}
