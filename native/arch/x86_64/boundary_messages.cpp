// Credentials in messages (SCM_CREDENTIALS): the kernel knows the sender by its own id. What is
// received is translated behind the call; what is to be sent in a copy, as others may look at the
// program's own. Copied into the program with the rest of the translation; see boundary_code.cpp.
#include <errno.h>  // NOLINT(modernize-deprecated-headers)
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cstddef>

#include "arch/boundary_layout.hpp"
#include "arch/x86_64/boundary_flags.hpp"

#ifndef __clang__
#pragma GCC optimize("no-tree-switch-conversion", "no-tree-loop-distribute-patterns")
#endif

#define CKPT_INJECTED extern "C" __attribute__((section("ckpt_ids"), used, visibility("hidden")))
#define CKPT_INJECTED_LOCAL static __attribute__((section("ckpt_ids"), noinline))

// NOLINTBEGIN: freestanding code, as in boundary_code.cpp
CKPT_INJECTED int ckpt_ids_shown(int id);
CKPT_INJECTED int ckpt_ids_real(int id);
CKPT_INJECTED bool ckpt_ids_is_internal(const void* caller);
CKPT_INJECTED long ckpt_ids_answer(long result);

namespace {

// More than one of each kind that there is, SCM_RIGHTS with its 253 descriptors included.
constexpr unsigned long kMostControl = 2048;

[[gnu::always_inline]] inline long send(int fd, const msghdr* message, long flags) {
  long result;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(SYS_sendmsg), "D"(fd), "S"(message), "d"(flags)
               : "rcx", "r11", "memory");
  return result;
}

[[gnu::always_inline]] inline bool may_block(int fd) {
  long result;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(SYS_fcntl), "D"(fd), "S"(F_GETFL), "d"(0)
               : "rcx", "r11", "memory");
  return result >= 0 && (result & O_NONBLOCK) == 0;
}

}  // namespace

// The next process id in control data from `at` on, and in `at` where to go on; null if there is
// none.
CKPT_INJECTED_LOCAL int* next_sender(char* control, unsigned long bytes, unsigned long* at) {
  while (*at <= bytes && bytes - *at >= sizeof(cmsghdr)) {
    auto* header = reinterpret_cast<cmsghdr*>(control + *at);
    const unsigned long length = header->cmsg_len;
    if (length < sizeof(cmsghdr) || length > bytes - *at) return nullptr;
    *at += (length + sizeof(long) - 1) & ~(sizeof(long) - 1);
    if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_CREDENTIALS &&
        length >= sizeof(cmsghdr) + sizeof(ucred))
      return reinterpret_cast<int*>(header + 1);
  }
  return nullptr;
}

CKPT_INJECTED void ckpt_ids_shown_message(msghdr* message) {
  auto* control = static_cast<char*>(message->msg_control);
  unsigned long at = 0;
  if (control == nullptr) return;
  while (int* sender = next_sender(control, message->msg_controllen, &at))
    if (*sender > 0) *sender = ckpt_ids_shown(*sender);
}

CKPT_INJECTED void ckpt_ids_shown_messages(mmsghdr* messages, long count) {
  for (long i = 0; i < count; ++i) ckpt_ids_shown_message(&messages[i].msg_hdr);
}

// Whether messages to be sent name their sender by an id that the kernel does not know it by.
CKPT_INJECTED bool ckpt_ids_names_sender(const msghdr* message) {
  if (message == nullptr || message->msg_control == nullptr ||
      message->msg_controllen > kMostControl)
    return false;
  unsigned long at = 0;
  while (const int* sender =
             next_sender(static_cast<char*>(message->msg_control), message->msg_controllen, &at))
    if (*sender > 0 && ckpt_ids_real(*sender) != *sender) return true;
  return false;
}

CKPT_INJECTED bool ckpt_ids_sendmsg_names(const void* caller, const msghdr* message) {
  return !ckpt_ids_is_internal(caller) && ckpt_ids_names_sender(message);
}

CKPT_INJECTED bool ckpt_ids_sendmmsg_names(const void* caller, const mmsghdr* messages,
                                           unsigned count) {
  if (messages == nullptr || ckpt_ids_is_internal(caller)) return false;
  for (unsigned i = 0; i < count && i < 1024; ++i)  // UIO_MAXIOV: the kernel takes no more
    if (ckpt_ids_names_sender(&messages[i].msg_hdr)) return true;
  return false;
}

// No thread may block in this code, so what would block is interrupted.
CKPT_INJECTED long ckpt_ids_send(int fd, const msghdr* message, int flags) {
  char control[kMostControl];
  msghdr copy = *message;
  if (!ckpt_ids_names_sender(message)) {
    copy.msg_control = message->msg_control;
  } else {
    const auto* from = static_cast<const volatile char*>(message->msg_control);
    for (unsigned long i = 0; i < copy.msg_controllen; ++i) control[i] = from[i];
    unsigned long at = 0;
    while (int* sender = next_sender(control, copy.msg_controllen, &at))
      if (*sender > 0) *sender = ckpt_ids_real(*sender);
    copy.msg_control = control;
  }
  const long result = send(fd, &copy, flags | MSG_DONTWAIT);
  const bool blocks = result == -EAGAIN && (flags & MSG_DONTWAIT) == 0 && may_block(fd);
  return blocks ? -EINTR : result;
}

CKPT_INJECTED long ckpt_ids_send_all(int fd, mmsghdr* messages, unsigned count, int flags) {
  for (unsigned i = 0; i < count && i < 1024; ++i) {
    const long result = ckpt_ids_send(fd, &messages[i].msg_hdr, flags);
    if (result < 0) return i > 0 ? static_cast<long>(i) : result;
    messages[i].msg_len = static_cast<unsigned>(result);
  }
  return count < 1024 ? static_cast<long>(count) : 1024;
}

CKPT_INJECTED long ckpt_ids_translated_sendmsg(int fd, const msghdr* message, int flags) {
  return ckpt_ids_answer(ckpt_ids_send(fd, message, flags));
}

CKPT_INJECTED long ckpt_ids_translated_sendmmsg(int fd, mmsghdr* messages, unsigned count,
                                                int flags) {
  return ckpt_ids_answer(ckpt_ids_send_all(fd, messages, count, flags));
}

// The entry points, and what stands behind the receiving calls: as in boundary_entries.cpp and
// boundary_results.cpp.
asm(CKPT_FLAGS_MACROS R"(
    .pushsection ckpt_ids, "ax", @progbits
    .macro message_entry name
    .balign 16
    .globl  \name
    .hidden \name
    .type   \name, @function
\name:
    .endm
    .macro to_library offset
    lea     0(%rip), %r11
    and     $-0x10000, %r11
    jmp     *\offset(%r11)
    .endm

    message_entry ckpt_ids_sendmsg
    push    %rdi
    push    %rsi
    push    %rdx
    mov     24(%rsp), %rdi           # the caller
    call    ckpt_ids_sendmsg_names
    pop     %rdx
    pop     %rsi
    pop     %rdi
    test    %al, %al
    jnz     ckpt_ids_translated_sendmsg
    to_library 3936

    message_entry ckpt_ids_sendmmsg
    push    %rdi
    push    %rsi
    push    %rdx
    push    %rcx
    mov     32(%rsp), %rdi
    call    ckpt_ids_sendmmsg_names
    pop     %rcx
    pop     %rdx
    pop     %rsi
    pop     %rdi
    test    %al, %al
    jnz     ckpt_ids_translated_sendmmsg
    to_library 3944

    message_entry ckpt_ids_result_recvmsg
    keep_flags
    test    %rax, %rax
    js      1f
    push    %rax
    keep_registers
    mov     %rsi, %rdi
    call    ckpt_ids_shown_message
    jmp     2f

    message_entry ckpt_ids_result_recvmmsg
    keep_flags
    test    %rax, %rax
    jle     1f
    push    %rax
    keep_registers
    mov     %rsi, %rdi
    mov     %rax, %rsi
    call    ckpt_ids_shown_messages
2:  bring_registers
    pop     %rax
1:  bring_flags
    ret
    .popsection
)");
using ckpt::arch::BoundaryHeader;
static_assert(offsetof(BoundaryHeader, more_originals) == 3936);
// NOLINTEND
