// Calls that were under way at the save with ids that the program remembers: they had passed the
// entry of a function, and are translated at its `syscall` instruction. That leads here from a stub
// (flights.hpp). Copied into the program with the rest (boundary_code.cpp).
#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): siginfo_t's fields are macros
#include <sys/syscall.h>

#include "arch/boundary_layout.hpp"
#include "arch/x86_64/lengths.hpp"

#ifndef __clang__
#pragma GCC optimize("no-tree-switch-conversion", "no-tree-loop-distribute-patterns")
#endif

#define CKPT_INJECTED extern "C" __attribute__((section("ckpt_ids"), used, visibility("hidden")))
#define CKPT_INJECTED_LOCAL static __attribute__((section("ckpt_ids"), noinline))

// NOLINTBEGIN: freestanding code, and assembly

using ckpt::arch::BoundaryHeader;
using ckpt::arch::Flight;

CKPT_INJECTED long ckpt_ids_translate(long number, long a, long b, long c, long d, long e, long f);
CKPT_INJECTED int ckpt_ids_real_id(int id);
CKPT_INJECTED int ckpt_ids_real_target(int target);
CKPT_INJECTED int ckpt_ids_real_clock(int clock);
CKPT_INJECTED long ckpt_ids_first_wait4(int target, int* status, int options, void* usage,
                                        long* real);
CKPT_INJECTED long ckpt_ids_first_waitid(int kind, int id, siginfo_t* info, int options,
                                         void* usage, long* real);

// As `syscall` does, this changes no register but rax, rcx and r11, and no flags. It goes on at the
// stub's `syscall`, with arguments that may be other ones, or behind it. When it does, the stack is
// as it was, so that a call that blocks there looks like the library's own.
asm(R"(
    .pushsection ckpt_ids, "ax", @progbits
    .balign 16
    .globl  ckpt_ids_flight
    .hidden ckpt_ids_flight
    .type   ckpt_ids_flight, @function
ckpt_ids_flight:
    lea     -128(%rsp), %rsp         # what lies there is the function's
    push    %rax
    lahf                             # for pushf see boundary_flags.hpp
    seto    %al
    push    %rax
    push    %rdi
    push    %rsi
    push    %rdx
    push    %r10
    push    %r8
    push    %r9
    push    %rcx
    push    %rbx
    mov     %rsp, %rdi
    mov     %rsp, %rbx
    and     $-16, %rsp
    call    ckpt_ids_fly
    mov     %rbx, %rsp
    mov     %rax, %r11
    pop     %rbx
    pop     %rcx
    pop     %r9
    pop     %r8
    pop     %r10
    pop     %rdx
    pop     %rsi
    pop     %rdi
    pop     %rax
    add     $0x7f, %al
    sahf
    pop     %rax
    lea     128(%rsp), %rsp
    jmp     *%r11
    .popsection
)");

namespace {

struct Saved {
  long rbx;
  unsigned long call;
  long r9, r8, r10, rdx, rsi, rdi, flags, rax;
};

[[gnu::always_inline]] inline BoundaryHeader* header() {
  unsigned long here;
  asm("lea 0(%%rip), %0" : "=r"(here));
  return reinterpret_cast<BoundaryHeader*>(here & ~0xffffUL);
}

}  // namespace

CKPT_INJECTED_LOCAL Flight* find_flight(const Saved* saved) {
  const BoundaryHeader* h = header();
  unsigned long thread;
  asm("mov %%fs:0, %0" : "=r"(thread));  // the control block begins with its own address
  const unsigned long stack = reinterpret_cast<unsigned long>(saved + 1) + 128;
  auto* flights = reinterpret_cast<Flight*>(h->flights_at);
  for (unsigned i = 0; i < h->flights; ++i) {
    Flight* one = flights + i;
    if (one->call == saved->call && one->thread == thread && one->pending != 0 &&
        ckpt::arch::is_as_deep(one->stack, stack))
      return one;
  }
  return nullptr;
}

CKPT_INJECTED_LOCAL bool has_id(long number, long second) {
  const auto command = static_cast<unsigned>(second);
  if (number < 0 || number >= 512) return false;
  // What may block, and has ids in messages or results alone.
  constexpr int kOthers[] = {SYS_fork,     SYS_clone,   SYS_clone3,  SYS_sendmsg,
                             SYS_sendmmsg, SYS_recvmsg, SYS_recvmmsg};
  for (const int other : kOthers)
    if (number == other) return false;
  if (number == SYS_fcntl)
    return command == F_SETOWN || command == F_GETOWN || command == F_SETOWN_EX ||
           command == F_GETOWN_EX || command == F_GETLK || command == F_OFD_GETLK;
  if (number == SYS_ioctl)
    return command == TIOCGPGRP || command == TIOCSPGRP || command == TIOCGSID ||
           (command >= FIOSETOWN && command <= SIOCGPGRP);
  return (header()->calls[number / 8] >> (number % 8) & 1) != 0;
}

// sigqueue(3) says who sends, and may have been told before the save: to ourselves it is the
// remembered id.
CKPT_INJECTED_LOCAL void renew_sender(siginfo_t* info, int target) {
  if (info->si_code != SI_QUEUE) return;
  const auto known = static_cast<int>(ckpt_ids_translate(SYS_getpid, 0, 0, 0, 0, 0, 0));
  const int self = ckpt_ids_real_id(known);
  if (ckpt_ids_real_id(info->si_pid) == self) info->si_pid = target == self ? known : self;
}

// Where to go on.
CKPT_INJECTED unsigned long ckpt_ids_fly(Saved* saved) {
  Flight* flight = find_flight(saved);
  if (flight == nullptr || !has_id(saved->rax, saved->rsi)) return saved->call;
  // Past the translation of a result: here it has been.
  const unsigned long behind =
      saved->call + ckpt::arch::kSyscallBytes +
      (flight->pending == ckpt::arch::kLeadsOn ? ckpt::arch::kPatchBytes : 0);
  flight->pending = 0;
  switch (saved->rax) {
    case SYS_kill: saved->rdi = ckpt_ids_real_target(static_cast<int>(saved->rdi)); break;
    case SYS_rt_sigqueueinfo:
      saved->rdi = ckpt_ids_real_id(static_cast<int>(saved->rdi));
      renew_sender(reinterpret_cast<siginfo_t*>(saved->rdx), static_cast<int>(saved->rdi));
      break;
    case SYS_tgkill:
    case SYS_rt_tgsigqueueinfo:
      saved->rsi = ckpt_ids_real_id(static_cast<int>(saved->rsi));
      saved->rdi = ckpt_ids_real_id(static_cast<int>(saved->rdi));
      break;
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
    case SYS_get_robust_list: saved->rdi = ckpt_ids_real_id(static_cast<int>(saved->rdi)); break;
    case SYS_clock_nanosleep: saved->rdi = ckpt_ids_real_clock(static_cast<int>(saved->rdi)); break;
    case SYS_wait4: {
      const long child = ckpt_ids_first_wait4(
          static_cast<int>(saved->rdi), reinterpret_cast<int*>(saved->rsi),
          static_cast<int>(saved->rdx), reinterpret_cast<void*>(saved->r10), &saved->rdi);
      if (child == 0) break;
      saved->rax = child;
      return behind;
    }
    case SYS_waitid: {
      const bool found = ckpt_ids_first_waitid(
                             static_cast<int>(saved->rdi), static_cast<int>(saved->rsi),
                             reinterpret_cast<siginfo_t*>(saved->rdx), static_cast<int>(saved->r10),
                             reinterpret_cast<void*>(saved->r8), &saved->rsi) != 0;
      if (!found) break;
      saved->rax = 0;
      return behind;
    }
    case SYS_getpriority:
    case SYS_setpriority: saved->rdi = static_cast<int>(saved->rdi); [[fallthrough]];
    default:
      saved->rax = ckpt_ids_translate(saved->rax, saved->rdi, saved->rsi, saved->rdx, saved->r10,
                                      saved->r8, saved->r9);
      return behind;
  }
  return saved->call;
}
// NOLINTEND
