// glibc registers a restartable-sequences area for every thread: after a restore the kernel must
// know it again. Shown three ways: cpu_id in the area follows the thread from CPU to CPU, a second
// registration of the same area is refused with EBUSY, and a critical section that is preempted is
// aborted.
#include "selfcheck.h"

#include <sched.h>
#include <sys/rseq.h>

static struct rseq* area_of_this_thread(void) {
  return (struct rseq*)((char*)__builtin_thread_pointer() + __rseq_offset);
}

static int stop_section, in_section;
static unsigned long aborts;

// Spins inside a critical section; every preemption and migration aborts it, which is counted, and
// it is entered anew.
static void* section(void* unused) {
  struct rseq* area = area_of_this_thread();
  while (!__atomic_load_n(&stop_section, __ATOMIC_SEQ_CST)) {
    long aborted = 0;
    __asm__ volatile(
        ".pushsection __rseq_cs_table, \"aw\"\n"
        ".balign 32\n"
        "9: .long 0, 0\n.quad 1f, 2f - 1f, 4f\n"
        ".popsection\n"
        "leaq 9b(%%rip), %%rax\n"
        "movq %%rax, %[cs]\n"
        "1: movl $1, %[entered]\n"
        "3: pause\n"
        "cmpl $0, %[stop]\n"
        "je 3b\n"
        "2: jmp 5f\n"
        ".byte 0x0f, 0xb9, 0x3d\n.long 0x53053053\n"  // RSEQ_SIG, inside an undefined instruction
        "4: movq $1, %[aborted]\n"
        "5: movq $0, %[cs]\n"
        : [cs] "+m"(area->rseq_cs), [aborted] "+r"(aborted), [entered] "=m"(in_section)
        : [stop] "m"(stop_section)
        : "rax", "memory", "cc");
    if (aborted) __atomic_add_fetch(&aborts, 1, __ATOMIC_SEQ_CST);
  }
  return unused;
}

static void check_registration(const char* when) {
  struct rseq* area = area_of_this_thread();
  errno = 0;
  long again = syscall(SYS_rseq, area, 32, 0, RSEQ_SIG);
  CHECK(again == -1 && errno == EBUSY, "%s: a second registration gives %ld: %s", when, again,
        strerror(errno));
  cpu_set_t allowed, one;
  MUST(sched_getaffinity(0, sizeof allowed, &allowed));
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    MUST(sched_setaffinity(0, sizeof one, &one));
    unsigned kernel_cpu = 0;
    MUST(syscall(SYS_getcpu, &kernel_cpu, NULL, NULL));
    int area_cpu = (int)__atomic_load_n(&area->cpu_id, __ATOMIC_RELAXED);
    CHECK(area_cpu == cpu && (int)kernel_cpu == cpu && sched_getcpu() == cpu,
          "%s: on CPU %d the area says %d, the kernel %u, sched_getcpu %d", when, cpu, area_cpu,
          kernel_cpu, sched_getcpu());
  }
  MUST(sched_setaffinity(0, sizeof allowed, &allowed));
}

static void wait_for_abort(pthread_t thread, const char* when) {
  cpu_set_t allowed, one;
  MUST(sched_getaffinity(0, sizeof allowed, &allowed));
  unsigned long had = __atomic_load_n(&aborts, __ATOMIC_SEQ_CST);
  uint64_t deadline = now_ns(CLOCK_MONOTONIC) + 10000000000ULL;
  // Push the thread round the CPUs it may use: each migration aborts.
  for (int cpu = 0; __atomic_load_n(&aborts, __ATOMIC_SEQ_CST) == had;
       cpu = (cpu + 1) % CPU_SETSIZE) {
    CHECK(now_ns(CLOCK_MONOTONIC) < deadline, "%s: the critical section is never aborted", when);
    if (!CPU_ISSET(cpu, &allowed)) continue;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CHECK(!pthread_setaffinity_np(thread, sizeof one, &one), "pthread_setaffinity_np");
    sched_yield();
  }
  pthread_setaffinity_np(thread, sizeof allowed, &allowed);
}

int main(void) {
  seed();
  if (!__rseq_size) SKIP("glibc did not register rseq here");
  pthread_t thread;
  CHECK(!pthread_create(&thread, NULL, section, NULL), "pthread_create");
  while (!__atomic_load_n(&in_section, __ATOMIC_SEQ_CST)) sched_yield();
  check_registration("before");
  wait_for_abort(thread, "before");

  ready();
  wait_line();

  check_registration("after");
  wait_for_abort(thread, "after");
  __atomic_store_n(&stop_section, 1, __ATOMIC_SEQ_CST);
  CHECK(!pthread_join(thread, NULL), "pthread_join");
  // A thread made now registers its own area.
  stop_section = 1;
  CHECK(!pthread_create(&thread, NULL, section, NULL) && !pthread_join(thread, NULL),
        "a new thread");
  return pass();
}
