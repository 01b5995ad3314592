// Preloaded into a debugger, it makes the debug registers what they are under some hypervisors: each request that sets one
// succeeds, reads give back what was set, and nothing ever stops. What the debugger starts is left alone.
// ckpt-build: shared
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>

enum { registers = 8 };
// One set for all threads: debuggers give each thread the same, and ask it of none.
static long kept[registers];

__attribute__((constructor)) static void leave_the_environment(void) { unsetenv("LD_PRELOAD"); }

static int number_of(long request, long offset) {
  const long first = offsetof(struct user, u_debugreg);
  if ((request != PTRACE_POKEUSER && request != PTRACE_PEEKUSER) || offset < first || offset >= first + registers * 8)
    return -1;
  return (int)((offset - first) / 8);
}

long ptrace(enum __ptrace_request request, ...) {
  va_list list;
  va_start(list, request);
  const long tid = va_arg(list, long);
  const long address = va_arg(list, long);
  long data = va_arg(list, long);
  va_end(list);
  const int number = number_of(request, address);
  if (number >= 0) {
    errno = 0;
    if (request == PTRACE_PEEKUSER) return number == 6 ? 0 : kept[number];
    kept[number] = data;
    return 0;
  }
  static long (*real)(long, ...);
  if (!real) real = (long (*)(long, ...))dlsym(RTLD_NEXT, "ptrace");
  return real(request, tid, address, data);
}
