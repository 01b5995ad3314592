#include "state/socket_queue.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

namespace ckpt::state {

namespace {

std::size_t unread_bytes(int own) {
  int bytes = 0;
  return ::ioctl(own, FIONREAD, &bytes) == 0 ? static_cast<std::size_t>(std::max(bytes, 0)) : 0;
}

// Looks at what waits to be received and leaves it there.
class Peeker {
 public:
  explicit Peeker(int own) : own_(own), before_(int_option(own, SO_PEEK_OFF)) {
    const int begin = 0;
    offsets_ = ::setsockopt(own, SOL_SOCKET, SO_PEEK_OFF, &begin, sizeof begin) == 0;
  }
  Peeker(const Peeker&) = delete;
  Peeker& operator=(const Peeker&) = delete;
  ~Peeker() {
    const int back = before_;
    if (offsets_) ::setsockopt(own_, SOL_SOCKET, SO_PEEK_OFF, &back, sizeof back);
  }

  std::vector<SocketMessage> run(bool whole, const DescribePassed& describe_passed) {
    std::vector<SocketMessage> queue;
    std::size_t seen = 0;
    for (;;) {
      SocketMessage message;
      if (!next(whole, whole ? kMostWholeBytes : room_for_stream(seen), message, describe_passed))
        return queue;
      seen += message.bytes.size();
      queue.push_back(std::move(message));
      if (!offsets_) return queue;
    }
  }

 private:
  // Behind the last byte of a stream is its error, which is not to be received.
  [[nodiscard]] std::size_t room_for_stream(std::size_t seen) const {
    if (!has_unread_error(own_)) return kMostBytes;
    const std::size_t waiting = unread_bytes(own_);
    return waiting > seen ? std::min(kMostBytes, waiting - seen) : 0;
  }

  bool next(bool whole, std::size_t room, SocketMessage& message,
            const DescribePassed& describe_passed) {
    if (room == 0) return false;
    constexpr std::size_t kMostDescriptors = 253;  // SCM_MAX_FD
    sockaddr_storage from{};
    alignas(cmsghdr) std::array<char, 4096> control{};
    static_assert(control.size() >= CMSG_SPACE(kMostDescriptors * sizeof(int)));
    iovec piece{room_.get(), room};
    msghdr head{};
    head.msg_name = &from;
    head.msg_namelen = sizeof from;
    head.msg_iov = &piece;
    head.msg_iovlen = 1;
    head.msg_control = control.data();
    head.msg_controllen = control.size();
    const ssize_t got = ::recvmsg(own_, &head, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 || (got == 0 && !whole)) return false;
    message.bytes.assign(room_.get(), static_cast<std::size_t>(got));
    if (head.msg_namelen > sizeof(sa_family_t))
      message.from.assign(reinterpret_cast<const char*>(&from), head.msg_namelen);
    for (cmsghdr* part = CMSG_FIRSTHDR(&head); part != nullptr; part = CMSG_NXTHDR(&head, part)) {
      if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
      std::vector<int> passed((part->cmsg_len - CMSG_LEN(0)) / sizeof(int));
      std::memcpy(passed.data(), CMSG_DATA(part), passed.size() * sizeof(int));
      std::vector<UniqueFd> owned;
      owned.reserve(passed.size());
      for (const int fd : passed) owned.emplace_back(fd);
      for (auto& fd : owned) message.descriptors.push_back(describe_passed(std::move(fd)));
    }
    // A packet socket whose other end has closed says 0 again and again.
    return got > 0 || head.msg_namelen > 0 || ++empty_ == 1;
  }

  static constexpr std::size_t kMostBytes = 8U << 20U;
  static constexpr std::size_t kMostWholeBytes = 1U << 20U;  // of a message

  int own_;
  int before_;
  bool offsets_ = false;
  int empty_ = 0;
  // Takes no more memory than what is received.
  std::unique_ptr<char[]> room_ = std::make_unique_for_overwrite<char[]>(kMostBytes);
};

}  // namespace

int int_option(int own, int name) {
  int value = 0;
  socklen_t length = sizeof value;
  return ::getsockopt(own, SOL_SOCKET, name, &value, &length) == 0 ? value : -1;
}

bool has_unread_error(int own) {
  pollfd state{own, 0, 0};
  return ::poll(&state, 1, 0) == 1 && (state.revents & POLLERR) != 0;
}

std::vector<SocketMessage> look_at_queue(int own, bool whole, const DescribePassed& describe_passed,
                                         bool& hidden) {
  hidden = whole && has_unread_error(own);
  if (!hidden) return Peeker(own).run(whole, describe_passed);
  hidden = unread_bytes(own) != 0;
  return {};
}

}  // namespace ckpt::state
