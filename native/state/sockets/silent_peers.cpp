#include "state/sockets/silent_peers.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include "base/error.hpp"
#include "base/option.hpp"

namespace ckpt::state {

namespace {

std::string holding() {
  return fmt::format("hold the other ends of pipes and connections ({})", option("peers silent"));
}

sigset_t only_children() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  return set;
}

}  // namespace

void SilentPeers::hold(UniqueFd far_end) {
  const int fd = far_end.get();
  if (!epoll_) prepare();
  const int flags = ::fcntl(fd, F_GETFL);
  // Another process may read from a FIFO as well.
  ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  const bool only_writes = (flags & O_ACCMODE) == O_WRONLY;
  watch(fd, only_writes ? 0 : EPOLLIN | EPOLLRDHUP, EPOLL_CTL_ADD);
  far_ends_.emplace(fd, std::move(far_end));
}

// Before there is a program, so that what fails leaves none.
void SilentPeers::prepare() {
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  const sigset_t children = only_children();
  children_.reset(::signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!epoll_ || !children_) throw_errno(holding(), errno);
  watch(children_.get(), EPOLLIN, EPOLL_CTL_ADD);
}

UniqueFd SilentPeers::take(Tid pid, int fd) {
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  UniqueFd taken(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), fd, 0)));
  if (!taken) throw_errno(holding(), errno);
  return taken;
}

std::string SilentPeers::note() {
  return fmt::format("its other end is silent ({}): nothing arrives, what is written is discarded",
                     option("peers silent"));
}

void SilentPeers::watch(int fd, std::uint32_t events, int operation) const {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (::epoll_ctl(epoll_.get(), operation, fd, &event) != 0) throw_errno(holding(), errno);
}

Tid SilentPeers::wait_child(Tid pid, int* status, int options) {
  if (far_ends_.empty()) return ::waitpid(pid, status, options);
  const sigset_t children = only_children();
  ::signal(SIGCHLD, SIG_DFL);
  ::sigprocmask(SIG_BLOCK, &children, nullptr);
  for (;;) {
    // What has happened before the signal was blocked is seen here.
    const pid_t got = ::waitpid(pid, status, options | WNOHANG);
    if (got != 0) return got;
    serve();
  }
}

void SilentPeers::serve() {
  std::array<epoll_event, 16> events{};
  const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), -1);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events.at(static_cast<std::size_t>(i));
    signalfd_siginfo child{};
    if (event.data.fd == children_.get()) {
      while (::read(children_.get(), &child, sizeof child) > 0) continue;
    } else {
      take_what_arrives(event.data.fd, event.events);
    }
  }
}

void SilentPeers::take_what_arrives(int fd, std::uint32_t events) {
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
    far_ends_.erase(fd);
    return;
  }
  std::array<char, 64U << 10U> waste{};
  const ssize_t got = ::read(fd, waste.data(), waste.size());
  // The program may have closed one direction alone, and wait for an answer: only that it has
  // closed both shows. A packet may be empty.
  if (got == 0 && (events & EPOLLRDHUP) != 0) watch(fd, 0, EPOLL_CTL_MOD);
  if (got < 0 && errno != EAGAIN && errno != EINTR) far_ends_.erase(fd);
}

}  // namespace ckpt::state
