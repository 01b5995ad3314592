// The translation of ids at the libc boundary, as it runs inside the restored program. The code is
// copied there (ids/boundary.cpp), so it stands alone: no library, no data of its own, no jump
// tables, only general registers (see CMakeLists.txt for how it is compiled). Each function here
// stands for the C library's of that name and keeps its interface, errno included.
//
// A call from within the C library means the kernel's ids: struct pthread holds those.
//
// Functions that may block are not made here but gone on with in the C library's own code, where
// unwinding (cancellation, backtraces) knows its way: the stack is as it was when they begin. Their
// entry points are in boundary_entries.cpp.
#include <asm/ioctls.h>
#include <errno.h>  // NOLINT(modernize-deprecated-headers)
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sockios.h>
#include <sched.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): siginfo_t's fields are macros
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>  // NOLINT(modernize-deprecated-headers)

#include "arch/boundary_layout.hpp"

#ifndef __clang__
// No tables of constants, no calls of memset.
#pragma GCC optimize("no-tree-switch-conversion", "no-tree-loop-distribute-patterns")
#endif

#define CKPT_INJECTED extern "C" __attribute__((section("ckpt_ids"), used, visibility("hidden")))
#define CKPT_INJECTED_LOCAL static __attribute__((section("ckpt_ids"), noinline))

// NOLINTBEGIN: freestanding code; casts between addresses and numbers are what it is about.

using ckpt::arch::BoundaryHeader;
using ckpt::arch::CodeRange;
using ckpt::arch::IdPair;
using ckpt::arch::kAliasBase;

namespace {

[[gnu::always_inline]] inline BoundaryHeader* header() {
  unsigned long here;
  asm("lea 0(%%rip), %0" : "=r"(here));
  return reinterpret_cast<BoundaryHeader*>(here & ~0xffffUL);
}

[[gnu::always_inline]] inline long raw(long number, long a = 0, long b = 0, long c = 0, long d = 0,
                                       long e = 0, long f = 0) {
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

}  // namespace

CKPT_INJECTED_LOCAL int child_to_real(int id) {
  const BoundaryHeader* h = header();
  for (unsigned i = 0; i < h->children; ++i)
    if (h->child[i].remembered == id && h->child[i].real > 0) return h->child[i].real;
  return id;
}

CKPT_INJECTED_LOCAL int child_to_remembered(int id) {
  const BoundaryHeader* h = header();
  for (unsigned i = 0; i < h->children; ++i)
    if (h->child[i].real == id) return h->child[i].remembered;
  return id;
}

// A group outlives the child that it is called after.
CKPT_INJECTED_LOCAL int led_to_real(int group) {
  const BoundaryHeader* h = header();
  for (unsigned i = 0; i < h->children; ++i)
    if (h->child[i].remembered == group && h->child[i].real < 0) return -h->child[i].real;
  return group;
}

CKPT_INJECTED_LOCAL int led_to_remembered(int group) {
  const BoundaryHeader* h = header();
  for (unsigned i = 0; i < h->children; ++i)
    if (h->child[i].real == -group) return h->child[i].remembered;
  return group;
}

CKPT_INJECTED_LOCAL int to_real(int id) {
  const BoundaryHeader* h = header();
  const auto* pairs = reinterpret_cast<const IdPair*>(h->pairs_at);
  for (unsigned i = 0; i < h->pairs; ++i)
    if (pairs[i].remembered == id) return pairs[i].real;
  return id > kAliasBase ? id - kAliasBase : (id > 0 ? child_to_real(id) : id);
}

CKPT_INJECTED_LOCAL int to_remembered(int id) {
  const BoundaryHeader* h = header();
  const auto* pairs = reinterpret_cast<const IdPair*>(h->pairs_at);
  for (unsigned i = 0; i < h->pairs; ++i)
    if (pairs[i].real == id) return pairs[i].remembered;
  for (unsigned i = 0; i < h->pairs; ++i)
    if (pairs[i].remembered == id) return id + kAliasBase;
  return id > 0 ? child_to_remembered(id) : id;
}

CKPT_INJECTED_LOCAL int group_to_real(int id) {
  const BoundaryHeader* h = header();
  if (id != 0 && h->group.remembered == id) return h->group.real;
  const int led = led_to_real(id);
  return led != id ? led : to_real(id);
}

CKPT_INJECTED_LOCAL int group_to_remembered(int id) {
  const BoundaryHeader* h = header();
  if (id != 0 && h->group.real == id) return h->group.remembered;
  const int led = led_to_remembered(id);
  return led != id ? led : to_remembered(id);
}

CKPT_INJECTED_LOCAL int session_to_remembered(int id) {
  const BoundaryHeader* h = header();
  return id != 0 && h->session.real == id ? h->session.remembered : to_remembered(id);
}

// An argument as kill(2) and wait4(2) take it: a process, or minus a group, or a special value.
CKPT_INJECTED_LOCAL int target_to_real(int id) {
  if (id > 0) return to_real(id);
  return id < -1 ? -group_to_real(-id) : id;
}

// include/linux/posix-timers.h: the id of a process or a thread, inverted, over three bits that say
// which of its clocks; two of them set: a file descriptor in the id's place. Others are not
// negative.
CKPT_INJECTED_LOCAL int clock_to_real(int clock) {
  if (clock >= 0 || (clock & 3) == 3) return clock;
  return static_cast<int>(static_cast<unsigned>(~to_real(~(clock >> 3))) << 3U) | (clock & 7);
}

CKPT_INJECTED_LOCAL int clock_to_remembered(int clock) {
  const int id = ~(clock >> 3);
  if (clock >= 0 || (clock & 3) == 3 || id == 0) return clock;
  return static_cast<int>(static_cast<unsigned>(~to_remembered(id)) << 3U) | (clock & 7);
}

CKPT_INJECTED_LOCAL bool is_internal(const void* caller) {
  const BoundaryHeader* h = header();
  const auto at = reinterpret_cast<unsigned long>(caller);
  const auto* ranges = reinterpret_cast<const CodeRange*>(h->ranges_at);
  for (unsigned i = 0; i < h->ranges; ++i)
    if (at >= ranges[i].begin && at < ranges[i].end) return true;
  return false;
}

CKPT_INJECTED_LOCAL long answer(long result) {
  if (result >= 0 || result < -4095) return result;
  const BoundaryHeader* h = header();
  int* error;
  if (h->errno_location != 0) {
    error = reinterpret_cast<int* (*)()>(h->errno_location)();
  } else {
    unsigned long base;
    asm("mov %%fs:0, %0" : "=r"(base));  // the thread's control block begins with its own address
    error = reinterpret_cast<int*>(base + static_cast<unsigned long>(h->errno_offset));
  }
  *error = static_cast<int>(-result);
  return -1;
}

// What the program's own group and session are called is known only until it makes new ones.
CKPT_INJECTED_LOCAL long made_group(long result, bool ours) {
  if (result < 0 || !ours) return result;
  BoundaryHeader* h = header();
  h->group.remembered = h->group.real = 0;
  return result;
}

// kill(2) and so on report a sender: to ourselves it is the remembered one.
CKPT_INJECTED_LOCAL long queue_signal(int target, int signal, const sigval value) {
  siginfo_t info;
  auto* words = reinterpret_cast<long*>(&info);
  for (unsigned i = 0; i < sizeof info / sizeof *words; ++i)
    reinterpret_cast<volatile long*>(words)[i] = 0;  // volatile: not a call of memset
  const int self = static_cast<int>(raw(SYS_getpid));
  info.si_signo = signal;
  info.si_code = SI_QUEUE;
  info.si_pid = target == self ? to_remembered(self) : self;
  info.si_uid = static_cast<uid_t>(raw(SYS_getuid));
  info.si_value = value;
  return raw(SYS_rt_sigqueueinfo, target, signal, reinterpret_cast<long>(&info));
}

// A call whose first argument points to a version, and an id behind it; the kernel may correct the
// version.
CKPT_INJECTED_LOCAL long capabilities(long number, cap_user_header_t given, long data) {
  if (given == nullptr) return raw(number, 0, data);
  __user_cap_header_struct header = *given;
  header.pid = to_real(header.pid);
  const long result = raw(number, reinterpret_cast<long>(&header), data);
  given->version = header.version;
  return result;
}

// Who has used an object of System V's.
CKPT_INJECTED_LOCAL long object_call(long number, long a, long b, long c, long d) {
  const long result = raw(number, a, b, c, d);
  if (result < 0) return result;
  if (number == SYS_semctl) {
    return static_cast<int>(c) == GETPID && result > 0 ? to_remembered(static_cast<int>(result))
                                                       : result;
  }
  const int command = static_cast<int>(b);
  if (number == SYS_shmctl &&
      (command == IPC_STAT || command == SHM_STAT || command == SHM_STAT_ANY)) {
    auto* segment = reinterpret_cast<shmid_ds*>(c);
    if (segment->shm_cpid > 0) segment->shm_cpid = to_remembered(segment->shm_cpid);
    if (segment->shm_lpid > 0) segment->shm_lpid = to_remembered(segment->shm_lpid);
  }
  if (number == SYS_msgctl &&
      (command == IPC_STAT || command == MSG_STAT || command == MSG_STAT_ANY)) {
    auto* queue = reinterpret_cast<msqid_ds*>(c);
    if (queue->msg_lspid > 0) queue->msg_lspid = to_remembered(queue->msg_lspid);
    if (queue->msg_lrpid > 0) queue->msg_lrpid = to_remembered(queue->msg_lrpid);
  }
  return result;
}

// All system calls that take or give ids and do not block. `user`: the caller means remembered ids.
CKPT_INJECTED_LOCAL long translate(long number, long a, long b, long c, long d, long e,
                                   long f = 0) {
  switch (number) {
    case SYS_getpid:
    case SYS_gettid:
    case SYS_getppid: return to_remembered(static_cast<int>(raw(number)));
    case SYS_getpgrp: return group_to_remembered(static_cast<int>(raw(number)));
    case SYS_getpgid:
    case SYS_getsid: {
      const long id = raw(number, to_real(static_cast<int>(a)));
      if (id < 0) return id;
      return number == SYS_getpgid ? group_to_remembered(static_cast<int>(id))
                                   : session_to_remembered(static_cast<int>(id));
    }
    case SYS_setpgid: {
      const int real = to_real(static_cast<int>(a));
      const bool ours = real == 0 || real == raw(SYS_getpid);
      return made_group(raw(number, real, group_to_real(static_cast<int>(b))), ours);
    }
    case SYS_setsid: {
      const long id = made_group(raw(number), true);
      if (id < 0) return id;
      header()->session.remembered = header()->session.real = 0;
      return to_remembered(static_cast<int>(id));
    }
    case SYS_kill: return raw(number, target_to_real(static_cast<int>(a)), b);
    case SYS_tkill:
    case SYS_pidfd_open:
    case SYS_sched_setparam:
    case SYS_sched_getparam:
    case SYS_sched_setscheduler:
    case SYS_sched_getscheduler:
    case SYS_sched_rr_get_interval:
    case SYS_sched_setaffinity:
    case SYS_sched_getaffinity:
    case SYS_sched_setattr:
    case SYS_sched_getattr:
    case SYS_prlimit64:
    case SYS_rt_sigqueueinfo:
    case SYS_get_robust_list:
    case SYS_process_vm_readv:
    case SYS_process_vm_writev:
    case SYS_move_pages:
    case SYS_migrate_pages: return raw(number, to_real(static_cast<int>(a)), b, c, d, e, f);
    case SYS_kcmp:
      return raw(number, to_real(static_cast<int>(a)), to_real(static_cast<int>(b)), c, d, e);
    case SYS_ptrace:
    case SYS_perf_event_open: return raw(number, a, to_real(static_cast<int>(b)), c, d, e);
    case SYS_capget:
    case SYS_capset: return capabilities(number, reinterpret_cast<cap_user_header_t>(a), b);
    case SYS_semctl:
    case SYS_shmctl:
    case SYS_msgctl: return object_call(number, a, b, c, d);
    case SYS_prctl: {
      // PR_SET_PTRACER_ANY is -1.
      if (a == PR_SET_PTRACER && static_cast<int>(b) > 0) b = to_real(static_cast<int>(b));
      if (a == PR_SCHED_CORE) c = to_real(static_cast<int>(c));
      return raw(number, a, b, c, d, e);
    }
    case SYS_clock_gettime:
    case SYS_clock_getres:
    case SYS_clock_settime: return raw(number, clock_to_real(static_cast<int>(a)), b);
    case SYS_timer_create: {
      a = clock_to_real(static_cast<int>(a));
      const auto* wanted = reinterpret_cast<const sigevent*>(b);
      if (wanted == nullptr || wanted->sigev_notify != SIGEV_THREAD_ID) return raw(number, a, b, c);
      sigevent event = *wanted;
      event._sigev_un._tid = to_real(event._sigev_un._tid);
      return raw(number, a, reinterpret_cast<long>(&event), c);
    }
    case SYS_tgkill:
    case SYS_rt_tgsigqueueinfo:
      return raw(number, to_real(static_cast<int>(a)), to_real(static_cast<int>(b)), c, d, e);
    case SYS_getpriority:
    case SYS_setpriority:
    case SYS_ioprio_get:
    case SYS_ioprio_set: {
      // PRIO_PROCESS 0 and PRIO_PGRP 1; I/O priorities count from 1.
      const long kind = number == SYS_getpriority || number == SYS_setpriority ? a : a - 1;
      const int id = static_cast<int>(b);
      if (kind == PRIO_PROCESS) b = to_real(id);
      if (kind == PRIO_PGRP) b = group_to_real(id);
      return raw(number, a, b, c);
    }
    case SYS_fcntl: {
      if (b == F_SETOWN) return raw(number, a, b, target_to_real(static_cast<int>(c)));
      if (b == F_SETOWN_EX) {
        f_owner_ex owner = *reinterpret_cast<const f_owner_ex*>(c);
        owner.pid = owner.type == F_OWNER_PGRP ? group_to_real(owner.pid) : to_real(owner.pid);
        return raw(number, a, b, reinterpret_cast<long>(&owner));
      }
      if (b == F_GETOWN || b == F_GETOWN_EX) {
        // F_GETOWN's own answer cannot tell a group from an error.
        f_owner_ex owner;
        const long result = raw(number, a, F_GETOWN_EX, reinterpret_cast<long>(&owner));
        if (result < 0) return result;
        owner.pid = owner.type == F_OWNER_PGRP ? group_to_remembered(owner.pid)
                                               : (owner.pid != 0 ? to_remembered(owner.pid) : 0);
        if (b == F_GETOWN) return owner.type == F_OWNER_PGRP ? -owner.pid : owner.pid;
        auto* out = reinterpret_cast<f_owner_ex*>(c);
        out->type = owner.type;
        out->pid = owner.pid;
        return result;
      }
      const long result = raw(number, a, b, c);
      auto* lock = reinterpret_cast<flock*>(c);
      if (result == 0 && lock->l_type != F_UNLCK && lock->l_pid > 0)
        lock->l_pid = to_remembered(lock->l_pid);
      return result;
    }
    case SYS_ioctl: {
      auto* id = reinterpret_cast<int*>(c);
      const bool gives = b == TIOCGPGRP || b == TIOCGSID || b == FIOGETOWN || b == SIOCGPGRP;
      if (!gives) {
        int real = *id;
        real = b == TIOCSPGRP ? group_to_real(real) : target_to_real(real);
        return raw(number, a, b, reinterpret_cast<long>(&real));
      }
      const long result = raw(number, a, b, c);
      if (result < 0) return result;
      if (b == TIOCGSID)
        *id = session_to_remembered(*id);
      else if (b == TIOCGPGRP)
        *id = group_to_remembered(*id);
      else
        *id = *id < 0 ? -group_to_remembered(-*id) : (*id > 0 ? to_remembered(*id) : 0);
      return result;
    }
    case SYS_getsockopt: {
      const long result = raw(number, a, b, c, d, e);
      if (result == 0 && b == SOL_SOCKET && c == SO_PEERCRED &&
          *reinterpret_cast<const socklen_t*>(e) >= sizeof(int)) {
        auto* peer = reinterpret_cast<int*>(d);
        if (*peer > 0) *peer = to_remembered(*peer);
      }
      return result;
    }
    default: return raw(number, a, b, c, d, e);
  }
}

// As above; a caller inside the C library is given what the kernel says.
CKPT_INJECTED_LOCAL long boundary(const void* caller, long number, long a = 0, long b = 0,
                                  long c = 0, long d = 0, long e = 0) {
  return is_internal(caller) ? raw(number, a, b, c, d, e) : translate(number, a, b, c, d, e);
}

#define CALLER __builtin_return_address(0)

// Never fail, so errno is left alone.
CKPT_INJECTED int ckpt_ids_getpid() { return static_cast<int>(boundary(CALLER, SYS_getpid)); }
CKPT_INJECTED int ckpt_ids_gettid() { return static_cast<int>(boundary(CALLER, SYS_gettid)); }
CKPT_INJECTED int ckpt_ids_getppid() { return static_cast<int>(boundary(CALLER, SYS_getppid)); }
CKPT_INJECTED int ckpt_ids_getpgrp() { return static_cast<int>(boundary(CALLER, SYS_getpgrp)); }

CKPT_INJECTED long ckpt_ids_getpgid(long a) { return answer(boundary(CALLER, SYS_getpgid, a)); }
CKPT_INJECTED long ckpt_ids_getsid(long a) { return answer(boundary(CALLER, SYS_getsid, a)); }
CKPT_INJECTED long ckpt_ids_setpgid(long a, long b) {
  return answer(translate(SYS_setpgid, a, b, 0, 0, 0));  // from within: setpgrp(), with zeros
}
CKPT_INJECTED long ckpt_ids_setsid() { return answer(translate(SYS_setsid, 0, 0, 0, 0, 0)); }
CKPT_INJECTED long ckpt_ids_kill(long a, long b) {
  return answer(boundary(CALLER, SYS_kill, a, b));
}
CKPT_INJECTED long ckpt_ids_killpg(int group, long signal) {
  if (group < 0) return answer(-EINVAL);
  return answer(boundary(CALLER, SYS_kill, -group, signal));
}
CKPT_INJECTED long ckpt_ids_tgkill(long a, long b, long c) {
  return answer(boundary(CALLER, SYS_tgkill, a, b, c));
}
CKPT_INJECTED long ckpt_ids_sigqueue(int target, int signal, const sigval value) {
  return answer(queue_signal(is_internal(CALLER) ? target : to_real(target), signal, value));
}
CKPT_INJECTED long ckpt_ids_pidfd_open(long a, long b) {
  return answer(boundary(CALLER, SYS_pidfd_open, a, b));
}
CKPT_INJECTED long ckpt_ids_sched_setparam(long a, long b) {
  return answer(boundary(CALLER, SYS_sched_setparam, a, b));
}
CKPT_INJECTED long ckpt_ids_sched_getparam(long a, long b) {
  return answer(boundary(CALLER, SYS_sched_getparam, a, b));
}
CKPT_INJECTED long ckpt_ids_sched_setscheduler(long a, long b, long c) {
  return answer(boundary(CALLER, SYS_sched_setscheduler, a, b, c));
}
CKPT_INJECTED long ckpt_ids_sched_getscheduler(long a) {
  return answer(boundary(CALLER, SYS_sched_getscheduler, a));
}
CKPT_INJECTED long ckpt_ids_sched_rr_get_interval(long a, long b) {
  return answer(boundary(CALLER, SYS_sched_rr_get_interval, a, b));
}
CKPT_INJECTED long ckpt_ids_sched_setaffinity(long a, long b, long c) {
  return answer(boundary(CALLER, SYS_sched_setaffinity, a, b, c));
}
CKPT_INJECTED long ckpt_ids_sched_getaffinity(long a, unsigned long bytes, char* set) {
  const unsigned long most = bytes > 0x7fffffff ? 0x7fffffff : bytes;
  const long got = boundary(CALLER, SYS_sched_getaffinity, a, static_cast<long>(most),
                            reinterpret_cast<long>(set));
  if (got < 0) return answer(got);
  // The kernel fills in what it has; the library clears the rest and answers 0.
  for (auto i = static_cast<unsigned long>(got); i < bytes; ++i)
    static_cast<volatile char*>(set)[i] = 0;
  return 0;
}
CKPT_INJECTED long ckpt_ids_getpriority(long a, long b) {
  // The kernel answers 20 - nice, so that no good answer looks like an error.
  const long result = boundary(CALLER, SYS_getpriority, static_cast<int>(a), b);
  return result >= 0 ? 20 - result : answer(result);
}
CKPT_INJECTED long ckpt_ids_setpriority(long a, long b, long c) {
  return answer(boundary(CALLER, SYS_setpriority, static_cast<int>(a), b, c));
}
CKPT_INJECTED long ckpt_ids_prlimit(long a, long b, long c, long d) {
  return answer(boundary(CALLER, SYS_prlimit64, a, b, c, d));
}
CKPT_INJECTED long ckpt_ids_process_vm_readv(long a, long b, long c, long d, long e, long f) {
  return answer(translate(SYS_process_vm_readv, a, b, c, d, e, f));
}
CKPT_INJECTED long ckpt_ids_process_vm_writev(long a, long b, long c, long d, long e, long f) {
  return answer(translate(SYS_process_vm_writev, a, b, c, d, e, f));
}
CKPT_INJECTED long ckpt_ids_capget(long a, long b) {
  return answer(translate(SYS_capget, a, b, 0, 0, 0));
}
CKPT_INJECTED long ckpt_ids_capset(long a, long b) {
  return answer(translate(SYS_capset, a, b, 0, 0, 0));
}
CKPT_INJECTED long ckpt_ids_semctl(int a, int b, int c, long d) {
  return answer(translate(SYS_semctl, a, b, c, d, 0));
}
CKPT_INJECTED long ckpt_ids_shmctl(int a, int b, long c) {
  return answer(translate(SYS_shmctl, a, b, c, 0, 0));
}
CKPT_INJECTED long ckpt_ids_msgctl(int a, int b, long c) {
  return answer(translate(SYS_msgctl, a, b, c, 0, 0));
}
CKPT_INJECTED long ckpt_ids_prctl(int a, long b, long c, long d, long e) {
  return answer(translate(SYS_prctl, a, b, c, d, e));
}
CKPT_INJECTED long ckpt_ids_getsockopt(long a, long b, long c, long d, long e) {
  return answer(
      boundary(CALLER, SYS_getsockopt, a, static_cast<int>(b), static_cast<int>(c), d, e));
}
CKPT_INJECTED long ckpt_ids_tcgetpgrp(long a) {
  int group = 0;
  const long result = translate(SYS_ioctl, a, TIOCGPGRP, reinterpret_cast<long>(&group), 0, 0);
  return result < 0 ? answer(result) : group;
}
CKPT_INJECTED long ckpt_ids_tcsetpgrp(long a, int group) {
  return answer(translate(SYS_ioctl, a, TIOCSPGRP, reinterpret_cast<long>(&group), 0, 0));
}
CKPT_INJECTED long ckpt_ids_tcgetsid(long a) {
  int session = 0;
  const long result = translate(SYS_ioctl, a, TIOCGSID, reinterpret_cast<long>(&session), 0, 0);
  return result < 0 ? answer(result) : session;
}
CKPT_INJECTED int ckpt_ids_clock_getcpuclockid(int pid, clockid_t* clock) {
  if (pid != 0 && !is_internal(CALLER)) pid = to_real(pid);
  // include/linux/posix-timers.h: the id inverted, over the kind of clock.
  const auto id = static_cast<clockid_t>((~static_cast<unsigned>(pid) << 3U) | 2U);
  const long result = raw(SYS_clock_getres, id, 0);
  if (result != 0) return result == -EINVAL ? ESRCH : static_cast<int>(-result);
  *clock = clock_to_remembered(id);
  return 0;
}
CKPT_INJECTED int ckpt_ids_pthread_getcpuclockid(unsigned long thread, clockid_t* clock) {
  const auto original = reinterpret_cast<int (*)(unsigned long, clockid_t*)>(
      header()->originals[ckpt::arch::kThreadClock]);
  const int result = original(thread, clock);
  if (result == 0) *clock = clock_to_remembered(*clock);
  return result;
}
CKPT_INJECTED long ckpt_ids_clock_settime(int a, long b) {
  return answer(translate(SYS_clock_settime, a, b, 0, 0, 0));
}
CKPT_INJECTED int ckpt_ids_timer_create(int clock, sigevent* wanted, timer_t* timer) {
  const auto original = reinterpret_cast<int (*)(int, sigevent*, timer_t*)>(
      header()->originals[ckpt::arch::kTimerCreate]);
  if (wanted == nullptr || wanted->sigev_notify != SIGEV_THREAD_ID)
    return original(clock_to_real(clock), wanted, timer);
  sigevent event = *wanted;
  event._sigev_un._tid = to_real(event._sigev_un._tid);
  return original(clock_to_real(clock), &event, timer);
}

// The second halves of the functions in boundary_entries.cpp; registers are the library's.
CKPT_INJECTED long ckpt_ids_translate(long number, long a, long b, long c, long d, long e, long f) {
  switch (number) {
    case SYS_fcntl:
    case SYS_ioctl:
    case SYS_getsockopt:
    case SYS_getpriority:
    case SYS_setpriority: b = static_cast<int>(b); break;
    default: break;
  }
  return translate(number, a, b, c, d, e, f);
}
// As syscall() is called: the last argument is on the stack.
CKPT_INJECTED long ckpt_ids_translated_syscall(long number, long a, long b, long c, long d, long e,
                                               long f) {
  return answer(ckpt_ids_translate(number, a, b, c, d, e, f));
}
CKPT_INJECTED long ckpt_ids_translated_fcntl(long fd, int command, long argument) {
  return answer(translate(SYS_fcntl, fd, command, argument, 0, 0));
}
CKPT_INJECTED long ckpt_ids_translated_ioctl(long fd, long request, long argument) {
  return answer(translate(SYS_ioctl, fd, static_cast<unsigned>(request), argument, 0, 0));
}
CKPT_INJECTED long ckpt_ids_translated_clock_gettime(int clock, long time) {
  return answer(translate(SYS_clock_gettime, clock, time, 0, 0, 0));
}
CKPT_INJECTED long ckpt_ids_translated_clock_getres(int clock, long time) {
  return answer(translate(SYS_clock_getres, clock, time, 0, 0, 0));
}
CKPT_INJECTED int ckpt_ids_shown(int id) { return to_remembered(id); }
CKPT_INJECTED int ckpt_ids_real(int id) { return to_real(id); }
CKPT_INJECTED bool ckpt_ids_is_internal(const void* caller) { return is_internal(caller); }
CKPT_INJECTED long ckpt_ids_answer(long result) { return answer(result); }
CKPT_INJECTED int ckpt_ids_real_clock(int clock) { return clock_to_real(clock); }

// For boundary_flights.cpp.
CKPT_INJECTED int ckpt_ids_real_id(int id) { return to_real(id); }
CKPT_INJECTED int ckpt_ids_real_target(int target) { return target_to_real(target); }

// The child's id is free for others from now on.
CKPT_INJECTED_LOCAL int collected(int id) {
  BoundaryHeader* h = header();
  for (unsigned i = 0; i < h->children; ++i) {
    if (h->child[i].real != id) continue;
    h->child[i].real = -id;
    __atomic_sub_fetch(&h->children_left, 1, __ATOMIC_SEQ_CST);
    return h->child[i].remembered;
  }
  return id;
}

// What a wait has given, with or without blocking.
CKPT_INJECTED int ckpt_ids_shown_wait4(int id) {
  const int known = collected(id);
  if (known != id || header()->translates_results == 0) return known;
  return to_remembered(id);
}
CKPT_INJECTED void ckpt_ids_shown_waitid(siginfo_t* info, int options) {
  const int id = info->si_pid;
  if (id <= 0) return;
  info->si_pid = (options & WNOWAIT) == 0 ? ckpt_ids_shown_wait4(id) : child_to_remembered(id);
  if (info->si_pid == id && header()->translates_results != 0) info->si_pid = to_remembered(id);
}

// A child to wait for. Where new ones are made without a translation, they are called by the
// kernel's ids.
CKPT_INJECTED_LOCAL int child_waited_for(int id) {
  return header()->translates_results != 0 ? to_real(id) : child_to_real(id);
}

// Children that had ended at the save have ended since the restore, so a wait that would give one
// of them gives it at once. `*real` becomes the target that the kernel knows, for going on when
// there is none.
CKPT_INJECTED long ckpt_ids_first_wait4(int target, int* status, int options, void* usage,
                                        long* real) {
  *real = target > 0 ? child_waited_for(target) : target_to_real(target);
  if (__atomic_load_n(&header()->children_left, __ATOMIC_SEQ_CST) == 0) return 0;
  const long got = raw(SYS_wait4, *real, reinterpret_cast<long>(status), options | WNOHANG,
                       reinterpret_cast<long>(usage));
  return got > 0 ? ckpt_ids_shown_wait4(static_cast<int>(got)) : 0;
}

CKPT_INJECTED long ckpt_ids_first_waitid(int kind, int id, siginfo_t* info, int options,
                                         void* usage, long* real) {
  *real = id;
  if (id > 0 && kind == P_PID) *real = child_waited_for(id);
  if (id > 0 && kind == P_PGID) *real = group_to_real(id);
  if (__atomic_load_n(&header()->children_left, __ATOMIC_SEQ_CST) == 0) return 0;
  siginfo_t found;
  found.si_pid = 0;
  const long result = raw(SYS_waitid, kind, *real, reinterpret_cast<long>(&found),
                          options | WNOHANG, reinterpret_cast<long>(usage));
  if (result != 0 || found.si_pid == 0) return 0;
  ckpt_ids_shown_waitid(&found, options);
  if (info != nullptr) {
    info->si_signo = found.si_signo;
    info->si_errno = found.si_errno;
    info->si_code = found.si_code;
    info->si_pid = found.si_pid;
    info->si_uid = found.si_uid;
    info->si_status = found.si_status;
  }
  return 1;
}
// NOLINTEND
