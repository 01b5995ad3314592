#include "tracee/child.hpp"

#include <sys/wait.h>

#include <cerrno>
#include <csignal>

namespace ckpt::tracee {

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    end();
    pid_ = std::exchange(other.pid_, 0);
  }
  return *this;
}

void Child::end() noexcept {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  // Its threads that we trace are ours to collect, each by itself, and their leader ends after
  // them: waiting for the leader alone would take for ever.
  for (;;) {
    int status = 0;
    const pid_t got = ::waitpid(-1, &status, __WALL);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 || (got == pid_ && !WIFSTOPPED(status))) break;
    if (WIFSTOPPED(status)) ::kill(pid_, SIGKILL);
  }
  pid_ = 0;
}

}  // namespace ckpt::tracee
