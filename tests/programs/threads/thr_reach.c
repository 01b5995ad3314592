// usage: thr_reach. Calls that reach a process or thread by its id for other things than signals and
// scheduling, and those that tell who has used an object: each does after the restore what it did
// before, with the ids that the program remembers.
#include "thr.h"

#include <linux/capability.h>
#include <linux/kcmp.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/uio.h>

static pid_t self, worker_id;
static long source, target;

int capget(cap_user_header_t, cap_user_data_t);
int capset(cap_user_header_t, const cap_user_data_t);

static struct iovec at(void* address) { return (struct iovec){address, sizeof source}; }
static long read_self(void) {
  struct iovec local = at(&target), remote = at(&source);
  target = 0;
  long got = process_vm_readv(self, &local, 1, &remote, 1, 0);
  CHECK(got < 0 || target == source, "process_vm_readv gives %lx", target);
  return got;
}
static long read_by_number(void) {
  struct iovec local = at(&target), remote = at(&source);
  target = 0;
  long got = syscall(SYS_process_vm_readv, worker_id, &local, 1UL, &remote, 1UL, 0UL);
  CHECK(got < 0 || target == source, "process_vm_readv gives %lx", target);
  return got;
}
static long flags_of_read(void) {  // the sixth argument arrives
  struct iovec local = at(&target), remote = at(&source);
  return syscall(SYS_process_vm_readv, self, &local, 1UL, &remote, 1UL, 4711UL);
}
static long write_self(void) {
  struct iovec local = at(&source), remote = at(&target);
  target = 0;
  long got = process_vm_writev(self, &local, 1, &remote, 1, 0);
  CHECK(got < 0 || target == source, "process_vm_writev gives %lx", target);
  return got;
}
static long compare(void) { return syscall(SYS_kcmp, self, worker_id, KCMP_VM, 0UL, 0UL); }
static long get_capabilities(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, worker_id};
  struct __user_cap_data_struct data[2];
  return capget(&header, data);
}
static long get_by_number(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, self};
  struct __user_cap_data_struct data[2];
  return syscall(SYS_capget, &header, data);
}
static long set_capabilities(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, self};
  struct __user_cap_data_struct data[2];
  if (capget(&header, data)) return -1;
  return capset(&header, data);
}
static long ask_version(void) {
  struct __user_cap_header_struct header = {0, self};
  capget(&header, NULL);
  return (long)header.version;
}
static long where_page_is(void) {
  void* page = (void*)((uintptr_t)&source & ~4095UL);
  int status = -1;
  long result = syscall(SYS_move_pages, self, 1UL, &page, NULL, &status, 0UL);
  return result ? result : status;
}
static long move_flags(void) {
  void* page = &source;
  int status = -1;
  return syscall(SYS_move_pages, self, 1UL, &page, NULL, &status, 0x4000UL);
}
static long migrate(void) {
  unsigned long node = 1;
  return syscall(SYS_migrate_pages, self, 8UL, &node, &node);
}
static long allow_tracer(void) { return prctl(PR_SET_PTRACER, getppid(), 0, 0, 0); }
static long core_cookie(void) {
  unsigned long cookie = 0;
  return prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, worker_id, 0, &cookie);
}
static long name_of_thread(void) {  // one without an id
  char name[16] = "";
  return prctl(PR_GET_NAME, name) ? -1 : name[0];
}
static long last_operation(void) {
  int set;
  MUST(set = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600));
  struct sembuf one = {0, 1, 0};
  MUST(semop(set, &one, 1));
  int pid = semctl(set, 0, GETPID);
  CHECK(pid == self, "GETPID gives %d, not %d", pid, self);
  CHECK(semctl(set, 0, GETVAL) == 1, "GETVAL gives %d", semctl(set, 0, GETVAL));
  return semctl(set, 0, IPC_RMID);
}
static long last_attached(void) {
  int segment;
  MUST(segment = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600));
  void* place = shmat(segment, NULL, 0);
  CHECK(place != (void*)-1, "shmat: %s", strerror(errno));
  struct shmid_ds status;
  MUST(shmctl(segment, IPC_STAT, &status));
  CHECK(status.shm_lpid == self && status.shm_cpid == self, "%d and %d, not %d", status.shm_lpid,
        status.shm_cpid, self);
  MUST(shmdt(place));
  return shmctl(segment, IPC_RMID, NULL);
}
static long last_sent(void) {
  int queue;
  MUST(queue = msgget(IPC_PRIVATE, IPC_CREAT | 0600));
  struct {
    long type;
    char text[8];
  } message = {1, "a text"};
  MUST(msgsnd(queue, &message, sizeof message.text, 0));
  MUST(msgrcv(queue, &message, sizeof message.text, 0, 0));
  struct msqid_ds status;
  MUST(msgctl(queue, IPC_STAT, &status));
  CHECK(status.msg_lspid == self && status.msg_lrpid == self, "%d and %d, not %d",
        status.msg_lspid, status.msg_lrpid, self);
  return msgctl(queue, IPC_RMID, NULL);
}

static const struct {
  const char* name;
  long (*call)(void);
} calls[] = {
    {"process_vm_readv", read_self}, {"process_vm_readv by number", read_by_number},
    {"its flags", flags_of_read}, {"process_vm_writev", write_self}, {"kcmp", compare},
    {"capget", get_capabilities}, {"capget by number", get_by_number},
    {"capset", set_capabilities}, {"version", ask_version}, {"move_pages", where_page_is},
    {"its flags", move_flags}, {"migrate_pages", migrate}, {"PR_SET_PTRACER", allow_tracer},
    {"PR_SCHED_CORE", core_cookie}, {"PR_GET_NAME", name_of_thread}, {"GETPID", last_operation},
    {"shm_lpid", last_attached}, {"msg_lspid", last_sent},
};
enum { CALLS = sizeof calls / sizeof *calls };

static void* work(void* unused) {
  worker_id = gettid();
  thr_arrive();
  thr_pass_gate(1);
  return unused;
}

int main(void) {
  long results[CALLS];
  int errors[CALLS];
  pthread_t worker;
  self = getpid();
  source = (long)seed() | 1;
  OK(pthread_create(&worker, NULL, work, NULL));
  thr_wait_arrived(1);
  for (int i = 0; i < CALLS; i++) {
    errno = 0;
    results[i] = calls[i].call();
    errors[i] = errno;
  }
  ready();
  wait_line();
  for (int i = 0; i < CALLS; i++) {
    errno = 0;
    long result = calls[i].call();
    CHECK(result == results[i] && (result >= 0 || errno == errors[i]),
          "%s gave %ld (%s), and gives %ld (%s)", calls[i].name, results[i], strerror(errors[i]), result,
          strerror(errno));
  }
  thr_open_gate(1);
  OK(pthread_join(worker, NULL));
  return pass();
}
