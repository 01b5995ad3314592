// usage: fd_shared SUBJECT. Things with names that a program shares with whoever has the same: as
// long as nobody does, they are as the program left them. Restored beside the process that was
// saved, each of the two must find them so; the order in which they are let go must not matter.
#include "fd.h"

#include <arpa/inet.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>

enum { SIZE = 4096 };
static char path[256];
static int fd, other;
static int* shared;
static struct sockaddr_in address;

static const char* in_directory(const char* name) {
  const char* directory = getenv("TMPDIR");
  snprintf(path, sizeof path, "%s/%s", directory ? directory : ".", name);
  return path;
}

static void with_size(int file) {
  MUST(file);
  MUST(ftruncate(file, SIZE));
}

// ---- memory
static void map_shared(int file) {
  shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  CHECK(shared != MAP_FAILED, "set-up: mmap");
  *shared = 1;
}
static void check_shared(void) {
  CHECK(*shared == 1, "the variable is %d", *shared);
  *shared += 41;
  CHECK(*shared == 42, "the variable is %d now", *shared);
}
static void posix_memory(void) {
  seed();
  snprintf(path, sizeof path, "/ckpt-test-%.8s", selfcheck_nonce);
  with_size(fd = shm_open(path, O_RDWR | O_CREAT | O_EXCL, 0600));
  map_shared(fd);
}
static void check_posix_memory(void) {
  check_shared();
  int value = 0;
  CHECK(pread(fd, &value, sizeof value, 0) == sizeof value && value == 42, "the descriptor: %d",
        value);
  shm_unlink(path);
}
static void mapped_file(void) {
  with_size(fd = open(in_directory("mapped"), O_RDWR | O_CREAT, 0600));
  map_shared(fd);
  close(fd);
}

static sem_t* semaphore;
static void named_semaphore(void) {
  seed();
  snprintf(path, sizeof path, "/ckpt-test-%.8s", selfcheck_nonce);
  semaphore = sem_open(path, O_CREAT | O_EXCL, 0600, 3);
  CHECK(semaphore != SEM_FAILED, "set-up: sem_open");
}
static void check_named_semaphore(void) {
  int value = 0;
  for (int i = 3; i > 0; i--) {
    MUST(sem_getvalue(semaphore, &value));
    CHECK(value == i, "its value is %d, not %d", value, i);
    MUST(sem_trywait(semaphore));
  }
  sem_unlink(path);
}

static mqd_t messages;
static void named_queue(void) {
  struct mq_attr attributes = {.mq_maxmsg = 5, .mq_msgsize = 30};
  seed();
  snprintf(path, sizeof path, "/ckpt-test-%.8s", selfcheck_nonce);
  messages = mq_open(path, O_CREAT | O_EXCL | O_RDWR | O_NONBLOCK, 0600, &attributes);
  if (messages == (mqd_t)-1) SKIP("mq_open: %s", strerror(errno));
  MUST(mq_send(messages, "waits", 5, 1));
}
static void expect_message(const char* text) {
  char now[30];
  ssize_t got = mq_receive(messages, now, sizeof now, NULL);
  CHECK(got == (ssize_t)strlen(text) && !memcmp(now, text, strlen(text)), "message of %zd bytes",
        got);
}
static void check_named_queue(void) {
  char now[30];
  expect_message("waits");
  CHECK(mq_receive(messages, now, sizeof now, NULL) == -1 && errno == EAGAIN, "a second message");
  MUST(mq_send(messages, "new", 3, 1));
  expect_message("new");
  mq_unlink(path);
}

// ---- files
static void written_file(void) {
  MUST(fd = open(in_directory("written"), O_RDWR | O_CREAT, 0600));
  put_bytes(fd, "before");
}
static void check_written_file(void) {
  put_bytes(fd, ", after");
  lseek(fd, 0, SEEK_SET);
  expect_bytes(fd, "before, after");
}
// Of a program with a journal: both or none.
static void two_files(void) {
  MUST(fd = open(in_directory("data"), O_RDWR | O_CREAT, 0600));
  MUST(other = open(in_directory("journal"), O_RDWR | O_CREAT, 0600));
  put_bytes(fd, "data");
  put_bytes(other, "journal");
}
static void check_two_files(void) {
  lseek(fd, 0, SEEK_SET);
  expect_bytes(fd, "data");
  lseek(other, 0, SEEK_SET);
  expect_bytes(other, "journal");
  put_bytes(fd, "!");
  MUST(ftruncate(other, 0));
  struct stat status;
  MUST(fstat(other, &status));
  CHECK(status.st_size == 0, "the journal has %ld bytes", (long)status.st_size);
}

// ---- FIFOs and queues
static void byte_fifo(void) {
  MUST(mkfifo(in_directory("fifo"), 0600));
  MUST(fd = open(path, O_RDONLY | O_NONBLOCK));
  MUST(other = open(path, O_WRONLY));
}
static void check_byte_fifo(void) {
  CHECK(!readable(fd), "somebody else's bytes are in it");
  put_bytes(other, "mine");
  expect_bytes(fd, "mine");
  put_bytes(other, "left");  // for whoever is let go next
}

// ---- sockets that share their address with others
static int bound(int type, int option) {
  const int on = 1;
  int s = socket(AF_INET, type, 0);
  MUST(s);
  MUST(setsockopt(s, SOL_SOCKET, option, &on, sizeof on));
  MUST(bind(s, (struct sockaddr*)&address, sizeof address));
  socklen_t length = sizeof address;
  MUST(getsockname(s, (struct sockaddr*)&address, &length));
  return s;
}
static void pair_of(int type, int option) {
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  fd = bound(type, option);
  other = bound(type, option);
  if (type != SOCK_STREAM) return;
  MUST(listen(fd, 5));
  MUST(listen(other, 5));
}
static struct sockaddr_in name_of(int s) {
  struct sockaddr_in name;
  socklen_t length = sizeof name;
  MUST(getsockname(s, (struct sockaddr*)&name, &length));
  return name;
}
static void check_pair(int option) {
  int value = 0;
  socklen_t length = sizeof value;
  MUST(getsockopt(fd, SOL_SOCKET, option, &value, &length));
  CHECK(value == 1, "the option is %d", value);
  struct sockaddr_in one = name_of(fd), two = name_of(other);
  CHECK(one.sin_port == two.sin_port, "the two sockets have different ports: %d and %d",
        ntohs(one.sin_port), ntohs(two.sin_port));
}
static void reuse_port_udp(void) { pair_of(SOCK_DGRAM, SO_REUSEPORT); }
static void reuse_address_udp(void) { pair_of(SOCK_DGRAM, SO_REUSEADDR); }
static void check_udp(int option) {
  check_pair(option);
  struct sockaddr_in to = name_of(fd);
  int client = socket(AF_INET, SOCK_DGRAM, 0);
  MUST(client);
  // The kernel chooses one of those that are bound there by where it comes from.
  for (int i = 0; i < 50; i++) {
    CHECK(sendto(client, "x", 1, 0, (struct sockaddr*)&to, sizeof to) == 1, "send");
    CHECK(readable(fd) || readable(other), "datagram %d went to somebody else", i);
    char byte;
    CHECK(recv(readable(fd) ? fd : other, &byte, 1, 0) == 1, "receive");
    if (i % 5 != 4) continue;
    close(client);
    MUST(client = socket(AF_INET, SOCK_DGRAM, 0));
  }
}
static void check_reuse_port_udp(void) { check_udp(SO_REUSEPORT); }
static void check_reuse_address_udp(void) { check_udp(SO_REUSEADDR); }
static void reuse_port_tcp(void) { pair_of(SOCK_STREAM, SO_REUSEPORT); }
static void check_reuse_port_tcp(void) {
  check_pair(SO_REUSEPORT);
  struct sockaddr_in to = name_of(fd);
  for (int i = 0; i < 50; i++) {
    int client = socket(AF_INET, SOCK_STREAM, 0);
    MUST(client);
    MUST(connect(client, (struct sockaddr*)&to, sizeof to));
    CHECK(readable(fd) || readable(other), "connection %d went to somebody else", i);
    int server = accept(readable(fd) ? fd : other, NULL, NULL);
    MUST(server);
    close(client);
    close(server);
  }
}

// ---- System V objects, known by number
static int id;
static void segment(void) {
  MUST(id = shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0600));
  shared = shmat(id, NULL, 0);
  CHECK(shared != (void*)-1, "set-up: shmat");
  *shared = 1;
}
static void check_segment(void) {
  check_shared();
  struct shmid_ds status;
  MUST(shmctl(id, IPC_STAT, &status));
  CHECK(status.shm_nattch == 1, "attached %d times", (int)status.shm_nattch);
  MUST(shmctl(id, IPC_RMID, NULL));
}
static void semaphores(void) {
  MUST(id = semget(IPC_PRIVATE, 2, IPC_CREAT | 0600));
  struct sembuf up[] = {{.sem_num = 0, .sem_op = 3}, {.sem_num = 1, .sem_op = 7}};
  MUST(semop(id, up, 2));
}
static void check_semaphores(void) {
  CHECK(semctl(id, 0, GETVAL) == 3, "the first is %d", semctl(id, 0, GETVAL));
  CHECK(semctl(id, 1, GETVAL) == 7, "the second is %d", semctl(id, 1, GETVAL));
  struct sembuf down = {.sem_num = 0, .sem_op = -3, .sem_flg = IPC_NOWAIT};
  MUST(semop(id, &down, 1));
  MUST(semctl(id, 0, IPC_RMID));
}
static void queue(void) {
  struct {
    long type;
    char text[8];
  } message = {.type = 5, .text = "first"};
  MUST(id = msgget(IPC_PRIVATE, IPC_CREAT | 0600));
  MUST(msgsnd(id, &message, sizeof message.text, 0));
  message.type = 6;
  MUST(msgsnd(id, &message, 0, 0));
}
static void check_queue(void) {
  struct {
    long type;
    char text[8];
  } message;
  CHECK(msgrcv(id, &message, sizeof message.text, 6, IPC_NOWAIT) == 0, "the empty message");
  CHECK(msgrcv(id, &message, sizeof message.text, 0, IPC_NOWAIT) == 8 && message.type == 5 &&
            !strcmp(message.text, "first"),
        "the message: %s", strerror(errno));
  CHECK(msgrcv(id, &message, sizeof message.text, 0, IPC_NOWAIT) < 0 && errno == ENOMSG, "another");
  MUST(msgctl(id, IPC_RMID, NULL));
}

int main(int argc, char** argv) {
  static const struct subject subjects[] = {
      {"posix_memory", posix_memory, check_posix_memory},
      {"mapped_file", mapped_file, check_shared},
      {"named_semaphore", named_semaphore, check_named_semaphore},
      {"named_queue", named_queue, check_named_queue},
      {"written_file", written_file, check_written_file},
      {"two_files", two_files, check_two_files},
      {"byte_fifo", byte_fifo, check_byte_fifo},
      {"reuse_port_udp", reuse_port_udp, check_reuse_port_udp},
      {"reuse_address_udp", reuse_address_udp, check_reuse_address_udp},
      {"reuse_port_tcp", reuse_port_tcp, check_reuse_port_tcp},
      {"segment", segment, check_segment},
      {"semaphores", semaphores, check_semaphores},
      {"queue", queue, check_queue},
      {NULL, NULL, NULL}};
  return run_subject(argc, argv, subjects);
}
