#include "state/context.hpp"

#include <fcntl.h>
#include <sys/syscall.h>

namespace ckpt::state {

int RestoreContext::open(const char* what, long number, tracee::Arguments arguments) {
  return move_away(static_cast<int>(call(what, number, arguments)));
}

int RestoreContext::move_away(int fd) {
  const auto moved =
      static_cast<int>(call("fcntl(F_DUPFD_CLOEXEC)", SYS_fcntl, {fd, F_DUPFD_CLOEXEC, next_fd}));
  next_fd = moved + 1;
  close(fd);
  return moved;
}

void RestoreContext::close(int fd) { attempt(SYS_close, {fd}); }

}  // namespace ckpt::state
