// io_uring and the contexts of io_setup(2), by the bare system calls.
#include "fd.h"

#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

struct ring {
  int fd;
  struct io_uring_params p;
  char* rings;
  struct io_uring_sqe* sqes;
  unsigned tail;  // what the next request gets; submit() tells the kernel
  unsigned head;  // of the completions
};
static struct ring ring;
static int ends[2] = {-1, -1};
static char buffer[8192] __attribute__((aligned(4096)));

#define WORD(offset) ((unsigned*)(ring.rings + (offset)))

static void open_ring(unsigned entries, unsigned flags) {
  ring.p.flags = flags;
  ring.p.sq_thread_idle = 100;
  if ((ring.fd = (int)syscall(SYS_io_uring_setup, entries, &ring.p)) == -1)
    SKIP("io_uring_setup: %s", strerror(errno));
  MUST(fcntl(ring.fd, F_SETFD, FD_CLOEXEC));
  size_t bytes = ring.p.cq_off.cqes + ring.p.cq_entries * sizeof(struct io_uring_cqe);
  if (!(flags & IORING_SETUP_NO_SQARRAY)) bytes = ring.p.sq_off.array + ring.p.sq_entries * 4;
  ring.rings = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_SQ_RING);
  ring.sqes = mmap(NULL, ring.p.sq_entries * sizeof *ring.sqes, PROT_READ | PROT_WRITE, MAP_SHARED,
                   ring.fd, IORING_OFF_SQES);
  CHECK(ring.rings != MAP_FAILED && ring.sqes != MAP_FAILED, "set-up: mmap");
}

static struct io_uring_sqe* push(int opcode, int fd, const void* address, unsigned length,
                                 uint64_t user_data) {
  const unsigned at = ring.tail & (ring.p.sq_entries - 1);
  struct io_uring_sqe* sqe = &ring.sqes[at];
  memset(sqe, 0, sizeof *sqe);
  sqe->opcode = (uint8_t)opcode;
  sqe->fd = fd;
  sqe->addr = (uintptr_t)address;
  sqe->len = length;
  sqe->user_data = user_data;
  if (!(ring.p.flags & IORING_SETUP_NO_SQARRAY)) WORD(ring.p.sq_off.array)[at] = at;
  ring.tail++;
  return sqe;
}

static int enter(unsigned submit, unsigned wait, unsigned flags) {
  return (int)syscall(SYS_io_uring_enter, ring.fd, submit, wait,
                      flags | (wait ? IORING_ENTER_GETEVENTS : 0), NULL, 0);
}

static unsigned publish(void) {
  unsigned* tail = WORD(ring.p.sq_off.tail);
  const unsigned count = ring.tail - *tail;
  __atomic_store_n(tail, ring.tail, __ATOMIC_RELEASE);
  return count;
}

static void submit(unsigned wait) {
  const unsigned count = publish();
  const unsigned wake = ring.p.flags & IORING_SETUP_SQPOLL ? IORING_ENTER_SQ_WAKEUP : 0;
  const int done = enter(count, wait, wake);
  CHECK(done == (int)count, "io_uring_enter: %d of %u: %s", done, count, strerror(errno));
}

static unsigned unread(void) {
  return __atomic_load_n(WORD(ring.p.cq_off.tail), __ATOMIC_ACQUIRE) - ring.head;
}

static int take_any(uint64_t* user_data) {
  CHECK(unread(), "no completion");
  const struct io_uring_cqe* cqe = (struct io_uring_cqe*)(ring.rings + ring.p.cq_off.cqes) +
                                   (ring.head & (ring.p.cq_entries - 1));
  const int result = cqe->res;
  *user_data = cqe->user_data;
  __atomic_store_n(WORD(ring.p.cq_off.head), ++ring.head, __ATOMIC_RELEASE);
  return result;
}
static int complete(uint64_t wanted) {
  uint64_t user_data = 0;
  const int result = take_any(&user_data);
  CHECK(user_data == wanted, "the completion is %llu's, not %llu's", (unsigned long long)user_data,
        (unsigned long long)wanted);
  return result;
}

// It works: `rounds` times all its requests.
static void use_ring(unsigned rounds) {
  static uint64_t next = 1000;
  for (unsigned round = 0; round < rounds; round++) {
    const uint64_t first = next;
    for (unsigned i = 0; i < ring.p.sq_entries; i++) push(IORING_OP_NOP, -1, NULL, 0, next++);
    submit(ring.p.sq_entries);
    for (uint64_t i = first; i < next; i++) CHECK(complete(i) == 0, "a request for nothing");
    CHECK(!unread(), "more completions than requests");
  }
}

// A request that moves bytes, with flags.
static void read_through(int fd, int opcode, unsigned flags, unsigned index) {
  MUST(write(ends[1], "through the ring", 16));
  struct io_uring_sqe* sqe = push(opcode, fd, buffer + 16, 100, 7);
  sqe->flags = (uint8_t)flags;
  sqe->buf_index = (uint16_t)index;
  memset(buffer, 0, sizeof buffer);
  submit(1);
  const int got = complete(7);
  CHECK(got == 16, "%d instead of 16 bytes", got);
  CHECK(!memcmp(buffer + 16, "through the ring", 16), "other bytes");
}

static void fresh(void) { open_ring(8, 0); }
static void check_fresh(void) {
  CHECK(!unread(), "a completion");
  CHECK(fcntl(ring.fd, F_GETFD) & FD_CLOEXEC, "close-on-exec");
  use_ring(5);
}
static void idle(void) {
  open_ring(64, 0);
  use_ring(1);
  push(IORING_OP_NOP, -1, NULL, 0, 1);
  submit(1);
  complete(1);
}
static void wrapped(void) {
  open_ring(4, 0);
  use_ring(1237);
  push(IORING_OP_NOP, -1, NULL, 0, 1);
  submit(1);
  complete(1);
}
static void large(void) {
  open_ring(1024, 0);
  use_ring(40);
}
static void odd(void) {
  open_ring(1, 0);
  use_ring(3);
}
// With the array it would have more pages.
static void large_no_array(void) {
  open_ring(2048, IORING_SETUP_NO_SQARRAY);
  use_ring(20);
}
static void no_array(void) {
  open_ring(16, IORING_SETUP_NO_SQARRAY);
  use_ring(3);
  push(IORING_OP_NOP, -1, NULL, 0, 1);
  submit(1);
  complete(1);
}
static void other_size(void) {
  ring.p.cq_entries = 512;
  open_ring(8, IORING_SETUP_CQSIZE);
  use_ring(70);
}
static void check_other_size(void) {
  for (unsigned i = 0; i < 64; i++) {
    for (unsigned j = 0; j < 8; j++) push(IORING_OP_NOP, -1, NULL, 0, i * 8 + j);
    submit(0);
  }
  CHECK(unread() == 512, "%u completions", unread());
  for (unsigned i = 0; i < 512; i++) complete(i);
  use_ring(2);
}
static void check_use(void) { use_ring(50); }

static void unread_ones(void) {
  open_ring(8, 0);
  use_ring(3);
  for (int i = 0; i < 3; i++) push(IORING_OP_NOP, -1, NULL, 0, 50 + (uint64_t)i);
  push(IORING_OP_READ, -1, buffer, 1, 53);
  submit(4);
}
static void check_unread_ones(void) {
  CHECK(unread() == 4, "%u completions", unread());
  for (uint64_t i = 50; i < 53; i++) CHECK(complete(i) == 0, "its result");
  CHECK(complete(53) == -EBADF, "the failed one");
  use_ring(9);
}

static void queued(void) {
  open_ring(8, 0);
  use_ring(1);
  MUST(pipe(ends));
  push(IORING_OP_NOP, -1, NULL, 0, 60);
  push(IORING_OP_WRITE, ends[1], "queued", 6, 61);
  publish();
  push(IORING_OP_NOP, -1, NULL, 0, 62);  // not even told
}
static void check_queued(void) {
  expect_nothing(ends[0]);
  CHECK(enter(2, 2, 0) == 2, "io_uring_enter: %s", strerror(errno));
  CHECK(complete(60) == 0 && complete(61) == 6, "results");
  expect_bytes(ends[0], "queued");
  submit(1);
  complete(62);
  use_ring(3);
}

static void registered_files(void) {
  open_ring(8, 0);
  MUST(pipe(ends));
  const int files[] = {-1, ends[0], ends[1], -1};
  MUST(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, files, 4));
  read_through(1, IORING_OP_READ, IOSQE_FIXED_FILE, 0);
}
static void check_registered_files(void) {
  read_through(1, IORING_OP_READ, IOSQE_FIXED_FILE, 0);
  push(IORING_OP_READ, 0, buffer, 1, 8)->flags = IOSQE_FIXED_FILE;
  submit(1);
  CHECK(complete(8) == -EBADF, "the empty place");
  const struct io_uring_files_update update = {.offset = 3, .fds = (uintptr_t)&ends[0]};
  CHECK(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES_UPDATE, &update, 1) == 1,
        "update: %s", strerror(errno));
  read_through(3, IORING_OP_READ, IOSQE_FIXED_FILE, 0);
}

static void registered_buffers(void) {
  open_ring(8, 0);
  MUST(pipe(ends));
  const struct iovec buffers[] = {{buffer, 4096}, {buffer + 4096, 100}, {buffer, 4000}};
  MUST(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, buffers, 3));
  read_through(ends[0], IORING_OP_READ_FIXED, 0, 2);
}
static void check_registered_buffers(void) {
  read_through(ends[0], IORING_OP_READ_FIXED, 0, 0);
  read_through(ends[0], IORING_OP_READ_FIXED, 0, 2);
  push(IORING_OP_READ_FIXED, ends[0], buffer, 1, 8)->buf_index = 1;  // not inside
  submit(1);
  CHECK(complete(8) == -EFAULT, "outside of the buffer");
}

static int event = -1;
static void tells_eventfd(void) {
  open_ring(8, 0);
  MUST(event = eventfd(0, EFD_NONBLOCK));
  MUST(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_EVENTFD, &event, 1));
}
static void check_tells_eventfd(void) {
  uint64_t count = 0;
  CHECK(!readable(event), "a completion was told");
  push(IORING_OP_NOP, -1, NULL, 0, 5);
  submit(1);
  complete(5);
  CHECK(read(event, &count, 8) == 8 && count == 1, "completions told: %llu",
        (unsigned long long)count);
}

static int copy = -1, set = -1;
static void in_epoll(void) {
  open_ring(8, 0);
  use_ring(2);
  struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = 4711};
  MUST(copy = dup(ring.fd));
  MUST(set = epoll_create1(0));
  MUST(epoll_ctl(set, EPOLL_CTL_ADD, ring.fd, &wanted));
}
static void check_in_epoll(void) {
  struct epoll_event got;
  CHECK(epoll_wait(set, &got, 1, 0) == 0, "a completion");
  push(IORING_OP_NOP, -1, NULL, 0, 5);
  const int number = ring.fd;
  ring.fd = copy;
  submit(1);
  ring.fd = number;
  CHECK(epoll_wait(set, &got, 1, 0) == 1 && got.data.u64 == 4711, "no completion");
  complete(5);
  use_ring(2);
}

static void disabled(void) { open_ring(8, IORING_SETUP_R_DISABLED); }
static void check_disabled(void) {
  push(IORING_OP_NOP, -1, NULL, 0, 5);
  CHECK(enter(publish(), 0, 0) == -1 && errno == EBADFD, "it takes requests");
  MUST(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
  CHECK(enter(1, 1, 0) == 1, "io_uring_enter: %s", strerror(errno));
  complete(5);
  use_ring(2);
}

// More completions than requests: poll tells many times.
static void many_of_one(void) {
  uint64_t value = 1;
  open_ring(8, 0);
  MUST(event = eventfd(0, EFD_NONBLOCK));
  push(IORING_OP_POLL_ADD, event, NULL, IORING_POLL_ADD_MULTI, 9)->poll32_events = POLLIN;
  submit(0);
  for (int i = 0; i < 40; i++) {
    MUST(write(event, &value, 8));
    enter(0, 1, 0);
    complete(9);
    MUST(read(event, &value, 8));
  }
  push(IORING_OP_POLL_REMOVE, -1, (void*)9, 0, 10);
  submit(2);
  uint64_t first, second;
  take_any(&first);
  take_any(&second);
  CHECK(first + second == 19, "set-up");
}

static void reading(void) {
  open_ring(8, 0);
  use_ring(2);
  MUST(pipe(ends));
  push(IORING_OP_READ, ends[0], buffer, 10, 77);
  push(IORING_OP_NOP, -1, NULL, 0, 78);
  submit(1);
  complete(78);
}
// As the program was saved; in the copy it is ended.
static void check_reading(void) {
  if (!strcmp(subject_line, "copy")) {
    CHECK(unread() == 1, "%u completions", unread());
    CHECK(complete(77) == -ECANCELED, "its result");
  } else {
    CHECK(!unread(), "it has ended");
    MUST(write(ends[1], "ten bytes!", 10));
    enter(0, 1, 0);
    CHECK(complete(77) == 10, "its result");
  }
  use_ring(4);
}

// As liburing does: a number of the thread's in place of the descriptor.
static void by_number(void) {
  open_ring(8, 0);
  struct io_uring_rsrc_update update = {.offset = 5, .data = (uint64_t)ring.fd};
  if (syscall(SYS_io_uring_register, ring.fd, 20, &update, 1) != 1)
    SKIP("IORING_REGISTER_RING_FDS: %s", strerror(errno));
  use_ring(2);
}
static void check_by_number(void) {
  push(IORING_OP_NOP, -1, NULL, 0, 5);
  publish();
  const int number = ring.fd;
  ring.fd = 5;
  CHECK(enter(1, 1, 1U << 4) == 1, "io_uring_enter: %s", strerror(errno));
  ring.fd = 4;
  CHECK(enter(0, 0, 1U << 4) == -1 && errno == EBADF, "another number");
  ring.fd = number;
  complete(5);
  use_ring(2);
}

static void polled(void) {
  open_ring(8, IORING_SETUP_SQPOLL);
  for (int i = 0; i < 20; i++) {
    push(IORING_OP_NOP, -1, NULL, 0, 5);
    submit(1);
    complete(5);
  }
}
static void check_polled(void) {
  for (int i = 0; i < 20; i++) {
    push(IORING_OP_NOP, -1, NULL, 0, 6);
    submit(1);
    complete(6);
  }
}

// ---- io_setup(2)
static aio_context_t context, second_context;
static void submit_read(aio_context_t to, int fd, uint64_t data) {
  struct iocb request = {.aio_data = data,
                         .aio_lio_opcode = IOCB_CMD_PREAD,
                         .aio_fildes = (uint32_t)fd,
                         .aio_buf = (uintptr_t)buffer,
                         .aio_nbytes = 5};
  struct iocb* list[] = {&request};
  CHECK(syscall(SYS_io_submit, to, 1, list) == 1, "io_submit: %s", strerror(errno));
}
static void get_event(aio_context_t from, uint64_t data) {
  struct io_event done;
  CHECK(syscall(SYS_io_getevents, from, 1, 1, &done, NULL) == 1, "io_getevents: %s",
        strerror(errno));
  CHECK(done.data == data && done.res == 5, "the event is %llu's: %lld",
        (unsigned long long)done.data, (long long)done.res);
}
static void expect_no_event(aio_context_t from) {
  struct io_event done;
  struct timespec now = {0};
  CHECK(syscall(SYS_io_getevents, from, 0, 1, &done, &now) == 0, "an event");
}
static void open_context(unsigned size, int events) {
  if (syscall(SYS_io_setup, size, &context)) SKIP("io_setup: %s", strerror(errno));
  MUST(ends[0] = open("/proc/self/exe", O_RDONLY));
  for (int i = 0; i < events; i++) {
    submit_read(context, ends[0], (uint64_t)i);
    get_event(context, (uint64_t)i);
  }
}
static void use_context(aio_context_t which) {
  for (uint64_t i = 0; i < 500; i++) {
    submit_read(which, ends[0], i);
    get_event(which, i);
  }
  expect_no_event(which);
  for (uint64_t i = 0; i < 5; i++) submit_read(which, ends[0], i);
  for (uint64_t i = 0; i < 5; i++) get_event(which, i);
}
static void aio_fresh(void) { open_context(8, 0); }
static void aio_idle(void) { open_context(100, 37); }
static void aio_wrapped(void) { open_context(8, 1000); }
static void aio_large(void) { open_context(2000, 3000); }
static void check_aio(void) {
  expect_no_event(context);
  use_context(context);
  MUST(syscall(SYS_io_destroy, context));
}
static void aio_unread(void) {
  open_context(8, 70);
  for (uint64_t i = 0; i < 6; i++) submit_read(context, ends[0], 300 + i);
}
// The first events lie at the end of the ring, the others at its beginning.
static void aio_unread_across(void) {
  open_context(8, 124);
  for (uint64_t i = 0; i < 6; i++) submit_read(context, ends[0], 300 + i);
}
static void check_aio_unread(void) {
  for (uint64_t i = 0; i < 6; i++) get_event(context, 300 + i);
  check_aio();
}
static void aio_two(void) {
  open_context(8, 11);
  MUST(syscall(SYS_io_setup, 300, &second_context));
  submit_read(second_context, ends[0], 8);
  aio_context_t gone = 0;
  MUST(syscall(SYS_io_setup, 3, &gone));
  MUST(syscall(SYS_io_destroy, gone));
}
static void check_aio_two(void) {
  get_event(second_context, 8);
  use_context(second_context);
  check_aio();
}

int main(int argc, char** argv) {
  static const struct subject subjects[] = {
      {"fresh", fresh, check_fresh},
      {"idle", idle, check_use},
      {"wrapped", wrapped, check_use},
      {"large", large, check_use},
      {"one_entry", odd, check_use},
      {"no_array", no_array, check_use},
      {"large_no_array", large_no_array, check_use},
      {"other_size", other_size, check_other_size},
      {"unread", unread_ones, check_unread_ones},
      {"queued", queued, check_queued},
      {"registered_files", registered_files, check_registered_files},
      {"registered_buffers", registered_buffers, check_registered_buffers},
      {"tells_eventfd", tells_eventfd, check_tells_eventfd},
      {"in_epoll", in_epoll, check_in_epoll},
      {"disabled", disabled, check_disabled},
      {"many_of_one", many_of_one, check_use},
      {"by_number", by_number, check_by_number},
      {"reading", reading, check_reading},
      {"polled", polled, check_polled},
      {"aio_fresh", aio_fresh, check_aio},
      {"aio_idle", aio_idle, check_aio},
      {"aio_wrapped", aio_wrapped, check_aio},
      {"aio_large", aio_large, check_aio},
      {"aio_unread", aio_unread, check_aio_unread},
      {"aio_unread_across", aio_unread_across, check_aio_unread},
      {"aio_two", aio_two, check_aio_two},
      {NULL, NULL, NULL}};
  return run_subject(argc, argv, subjects);
}
