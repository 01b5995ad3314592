// usage: kernel_objects KIND. Holds one kernel object of a kind, so that a test can look for it in
// the fidelity report. After the line it uses the object: a save must not have disturbed it. (What
// a restore makes of them is not this program's subject.) `kernel_objects --list` prints the kinds.
#include "selfcheck.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>

static int fd = -1, pair[2] = {-1, -1};
static void* memory;
static pid_t child;
static timer_t timer;

static void tcp(void) {
  MUST(fd = socket(AF_INET, SOCK_STREAM, 0));
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  MUST(bind(fd, (struct sockaddr*)&address, sizeof address));
  MUST(listen(fd, 3));
}
static void udp(void) { MUST(fd = socket(AF_INET, SOCK_DGRAM, 0)); }
static void unix_pair(void) {
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  CHECK(write(pair[0], "hello", 5) == 5, "write");
}
static void use_pair(void) {
  char text[8];
  CHECK(read(pair[1], text, 8) == 5, "the bytes in the socket are gone");
}
static void netlink(void) { MUST(fd = socket(AF_NETLINK, SOCK_RAW, 0)); }
static void epoll(void) {
  MUST(fd = epoll_create1(0));
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = 12};
  MUST(epoll_ctl(fd, EPOLL_CTL_ADD, 0, &event));
}
static void use_epoll(void) {
  struct epoll_event event;
  CHECK(epoll_wait(fd, &event, 1, 0) >= 0, "epoll_wait: %s", strerror(errno));
}
static void event(void) { MUST(fd = eventfd(3, 0)); }
static void use_event(void) {
  uint64_t value;
  CHECK(read(fd, &value, 8) == 8 && value == 3, "the eventfd's counter");
}
static void timer_fd(void) {
  MUST(fd = timerfd_create(CLOCK_MONOTONIC, 0));
  struct itimerspec when = {.it_value = {3600, 0}, .it_interval = {1, 0}};
  MUST(timerfd_settime(fd, 0, &when, NULL));
}
static void use_timer_fd(void) {
  struct itimerspec when;
  MUST(timerfd_gettime(fd, &when));
  CHECK(when.it_value.tv_sec > 3000 && when.it_interval.tv_sec == 1, "the timerfd");
}
static void signal_fd(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  MUST(fd = signalfd(-1, &set, 0));
}
static void inotify(void) {
  MUST(fd = inotify_init());
  MUST(inotify_add_watch(fd, "/tmp", IN_DELETE_SELF));
}
static void fanotify(void) {
  if ((fd = fanotify_init(FAN_CLASS_NOTIF, O_RDONLY)) == -1) SKIP("fanotify: %s", strerror(errno));
}
static void mem_fd(void) {
  MUST(fd = memfd_create("a-memfd", 0));
  CHECK(write(fd, "hello", 5) == 5, "write");
}
static void use_mem_fd(void) {
  char text[8];
  CHECK(pread(fd, text, 8, 0) == 5, "the memfd's content");
}
static void secret_mem(void) {
  if ((fd = (int)syscall(SYS_memfd_secret, 0)) == -1) SKIP("memfd_secret: %s", strerror(errno));
  MUST(ftruncate(fd, 4096));
  MUST(memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  fill(memory, 4096, seed());
}
static void use_memory(void) { CHECK(first_difference(memory, 4096, seed()) < 0, "content"); }
static void interval_timer(void) {
  struct itimerval when = {.it_value = {3600, 0}};
  MUST(setitimer(ITIMER_REAL, &when, NULL));
}
static void use_interval_timer(void) {
  struct itimerval when;
  MUST(getitimer(ITIMER_REAL, &when));
  CHECK(when.it_value.tv_sec > 3000, "the interval timer has %ld s", (long)when.it_value.tv_sec);
}
static void virtual_timer(void) {
  struct itimerval when = {.it_value = {3600, 0}};
  MUST(setitimer(ITIMER_VIRTUAL, &when, NULL));
}
static void posix_timer(void) {
  struct sigevent how = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
  struct itimerspec when = {.it_value = {3600, 0}};
  MUST(timer_create(CLOCK_MONOTONIC, &how, &timer));
  MUST(timer_settime(timer, 0, &when, NULL));
}
static void use_posix_timer(void) {
  struct itimerspec when;
  MUST(timer_gettime(timer, &when));
  CHECK(when.it_value.tv_sec > 3000, "the timer");
}
static void child_process(void) {
  MUST(pipe(pair));
  MUST(child = fork());
  if (!child) {
    char byte;
    close(pair[1]);
    _exit(read(pair[0], &byte, 1) == 1 ? 0 : 1);
  }
}
static void use_child(void) {
  int status;
  CHECK(write(pair[1], "x", 1) == 1, "write");
  CHECK(waitpid(child, &status, 0) == child && status == 0, "the child");
}
static void zombie_child(void) {
  MUST(child = fork());
  if (!child) _exit(5);
  siginfo_t info;
  MUST(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT));
}
static void use_zombie(void) {
  int status;
  CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 5, "the zombie");
}
static void pid_fd(void) { MUST(fd = (int)syscall(SYS_pidfd_open, getpid(), 0)); }
static void file_lock(void) {
  MUST(fd = open("/tmp", O_TMPFILE | O_RDWR, 0600));
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 100};
  MUST(fcntl(fd, F_SETLK, &lock));
}
static void flock_lock(void) {
  MUST(fd = open("/tmp", O_TMPFILE | O_RDWR, 0600));
  MUST(flock(fd, LOCK_EX));
}
static void system_v(void) {
  int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
  if (id == -1) SKIP("shmget: %s", strerror(errno));
  MUST(memory = shmat(id, NULL, 0));
  shmctl(id, IPC_RMID, NULL);
  fill(memory, 4096, seed());
}
static void fifo(void) {
  char path[64];
  seed();
  snprintf(path, sizeof path, "/tmp/ckpt-fifo-%s", selfcheck_nonce);
  MUST(mkfifo(path, 0600));
  fd = open(path, O_RDWR);
  unlink(path);
  MUST(fd);
}
static void pseudo_terminal(void) {
  MUST(fd = posix_openpt(O_RDWR | O_NOCTTY));
  MUST(unlockpt(fd));
}
static void user_fault(void) {
  if ((fd = (int)syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY)) == -1)
    SKIP("userfaultfd: %s", strerror(errno));
}
static void io_ring(void) {
  struct io_uring_params parameters;
  memset(&parameters, 0, sizeof parameters);
  if ((fd = (int)syscall(SYS_io_uring_setup, 4, &parameters)) == -1)
    SKIP("io_uring: %s", strerror(errno));
}
static void perf(void) {
  struct perf_event_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.size = sizeof attributes;
  attributes.type = PERF_TYPE_SOFTWARE;
  attributes.config = PERF_COUNT_SW_TASK_CLOCK;
  attributes.exclude_kernel = 1;
  if ((fd = (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0)) == -1)
    SKIP("perf: %s", strerror(errno));
}
static void async_io(void) {
  unsigned long context = 0;
  if (syscall(SYS_io_setup, 8, &context)) SKIP("io_setup: %s", strerror(errno));
}
static void nothing(void) {}

static const struct {
  const char* name;
  void (*make)(void);
  void (*use)(void);
} kinds[] = {
    {"tcp", tcp, nothing},
    {"udp", udp, nothing},
    {"unix_pair", unix_pair, use_pair},
    {"netlink", netlink, nothing},
    {"epoll", epoll, use_epoll},
    {"eventfd", event, use_event},
    {"timerfd", timer_fd, use_timer_fd},
    {"signalfd", signal_fd, nothing},
    {"inotify", inotify, nothing},
    {"fanotify", fanotify, nothing},
    {"memfd", mem_fd, use_mem_fd},
    {"memfd_secret", secret_mem, use_memory},
    {"itimer_real", interval_timer, use_interval_timer},
    {"itimer_virtual", virtual_timer, nothing},
    {"posix_timer", posix_timer, use_posix_timer},
    {"child", child_process, use_child},
    {"zombie", zombie_child, use_zombie},
    {"pidfd", pid_fd, nothing},
    {"posix_lock", file_lock, nothing},
    {"flock", flock_lock, nothing},
    {"sysv_shm", system_v, use_memory},
    {"fifo", fifo, nothing},
    {"pty", pseudo_terminal, nothing},
    {"userfaultfd", user_fault, nothing},
    {"io_uring", io_ring, nothing},
    {"perf_event", perf, nothing},
    {"aio", async_io, nothing},
};
enum { COUNT = sizeof kinds / sizeof *kinds };

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: kernel_objects KIND | --list");
  for (int i = 0; i < COUNT; i++) {
    if (!strcmp(argv[1], "--list")) say("%s", kinds[i].name);
    if (strcmp(argv[1], kinds[i].name)) continue;
    kinds[i].make();
    ready();
    wait_line();
    kinds[i].use();
    return pass();
  }
  CHECK(!strcmp(argv[1], "--list"), "no kind %s", argv[1]);
  return 0;
}
