// usage: thr_alias. After the save it makes threads whose kernel ids are the ones that it had
// itself at the save (as root; clone3 with set_tid). With new ids, the program remembers these as
// its own, so a new thread must show an id that no other thread shows.
#include "thr.h"

#include <linux/sched.h>

static int main_tid, worker_tid, shown;
static void* work(void* unused) {
  worker_tid = gettid();
  thr_arrive();
  thr_pass_gate(1);
  CHECK(gettid() == worker_tid, "the worker's id is %d, was %d", gettid(), worker_tid);
  return unused;
}

// Runs on a bare thread without a descriptor of its own: nothing of the C library but the call.
static void with_id(int id) {
  static char stack[65536] __attribute__((aligned(16)));
  struct clone_args arguments = {0};
  int done = 0;
  shown = 0;
  arguments.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                    CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
  arguments.parent_tid = arguments.child_tid = (uintptr_t)&done;
  arguments.stack = (uintptr_t)stack;
  arguments.stack_size = sizeof stack;
  arguments.set_tid = (uintptr_t)&id;
  arguments.set_tid_size = 1;
  long result;
  register pid_t (*function)(void) __asm__("r12") = gettid;
  register int* where __asm__("r13") = &shown;
  // The new thread runs on the new stack: calls gettid(), stores what it says, ends.
  __asm__ volatile(
      "syscall\n"
      "test %%rax, %%rax\n"
      "jnz 1f\n"
      "call *%%r12\n"
      "mov %%eax, (%%r13)\n"
      "mov $60, %%eax\n"
      "xor %%edi, %%edi\n"
      "syscall\n"
      "1:"
      : "=a"(result)
      : "a"(SYS_clone3), "D"(&arguments), "S"(sizeof arguments), "r"(function), "r"(where)
      : "rcx", "r11", "memory");
  CHECK(result > 0, "a thread with the id %d: %s", id, strerror((int)-result));
  for (int now; (now = __atomic_load_n(&done, __ATOMIC_SEQ_CST)) != 0;)
    futex(&done, FUTEX_WAIT, now, NULL);
}

int main(void) {
  pthread_t worker;
  main_tid = gettid();
  OK(pthread_create(&worker, NULL, work, NULL));
  thr_wait_arrived(1);
  ready();
  wait_line();
  if (syscall(SYS_getpid) != getpid()) FAIL("two ids for one process");
  char line[64];
  FILE* status = fopen("/proc/self/stat", "r");  // the kernel's word
  int real = 0;
  CHECK(status && fgets(line, sizeof line, status) && (real = atoi(line)) > 0, "/proc/self/stat");
  if (real != main_tid) {
    const int ids[2] = {main_tid, worker_tid};
    for (int i = 0; i < 2; i++) {
      with_id(ids[i]);
      CHECK(shown > 0 && shown != main_tid && shown != worker_tid, "a new thread shows %d", shown);
    }
  }
  thr_open_gate(1);
  OK(pthread_join(worker, NULL));
  return pass();
}
