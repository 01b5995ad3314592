#include "state/sockets/socket_queue.hpp"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>

namespace ckpt::state {

namespace {

bool has_event(int own, short event) {
  pollfd state{own, event, 0};
  return ::poll(&state, 1, 0) == 1 && (state.revents & event) != 0;
}

// Of a stream: up to the mark of an urgent byte.
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

  // Of messages with boundaries.
  std::vector<SocketMessage> messages(const DescribePassed& describe_passed) {
    std::vector<SocketMessage> queue;
    SocketMessage message;
    while (next(true, kMostWholeBytes, message, describe_passed)) {
      queue.push_back(std::exchange(message, {}));
      if (!offsets_) break;
    }
    return queue;
  }

  std::vector<SocketMessage> stream(const DescribePassed& describe_passed) {
    std::vector<SocketMessage> queue;
    std::size_t seen = 0;
    SocketMessage message;
    while (next(false, room_behind(seen), message, describe_passed)) {
      const std::size_t begin = std::exchange(seen, seen + message.bytes.size());
      if (!message.descriptors.empty() && offsets_) {
        const std::size_t plain = plain_bytes(begin, message.bytes.size());
        if (plain != 0) queue.push_back({message.bytes.substr(0, plain), message.from, {}});
        message.bytes.erase(0, plain);
      }
      queue.push_back(std::exchange(message, {}));
      if (!offsets_) break;
    }
    return queue;
  }

  // A byte that was sent as urgent is no part of the stream, unless the program wants it there, but
  // has a place in it, at which receiving stops once (tcp(7)).
  SocketQueue tcp() {
    SocketQueue queue;
    const bool urgent = has_event(own_, POLLPRI);
    if (int_option(own_, SO_OOBINLINE) == 1) {
      queue.messages = stream({});
      if (urgent) mark_urgent(queue.messages, is_at_mark() ? 0 : first_bytes(queue.messages));
      queue.urgent_lost = urgent && !offsets_;
      return queue;
    }
    std::size_t seen = 0;
    SocketMessage message;
    for (std::size_t room = unread_bytes(own_); next(false, room, message, {});
         room = unread_bytes(own_) - seen) {
      seen += message.bytes.size();
      queue.messages.push_back(std::exchange(message, {}));
      if (!offsets_ || unread_bytes(own_) <= seen) break;
    }
    // Up to the mark, or all there is.
    const bool more = !has_unread_error(own_) && offsets_ && next(false, kMostBytes, message, {});
    queue.urgent_lost = urgent && !offsets_;
    if (!urgent && !more) return queue;
    if (!urgent && unread_bytes(own_) > seen) {  // it has come meanwhile: there is no mark
      queue.messages.push_back(std::move(message));
      for (auto& rest : stream({})) queue.messages.push_back(std::move(rest));
      return queue;
    }
    char byte = 0;
    if (urgent && ::recv(own_, &byte, 1, MSG_OOB | MSG_PEEK | MSG_DONTWAIT) < 0) return queue;
    queue.messages.push_back(
        {std::string(1, byte), "", {}, urgent ? Urgency::unread : Urgency::taken});
    if (!more) return queue;
    // The kernel counts what it has passed over for no offset.
    const int behind = static_cast<int>(seen) + 1;
    ::setsockopt(own_, SOL_SOCKET, SO_PEEK_OFF, &behind, sizeof behind);
    for (auto& rest : stream({})) queue.messages.push_back(std::move(rest));
    return queue;
  }

 private:
  static std::size_t first_bytes(const std::vector<SocketMessage>& queue) {
    return queue.empty() ? 0 : queue.front().bytes.size();
  }

  static void mark_urgent(std::vector<SocketMessage>& queue, std::size_t place) {
    std::string bytes;
    for (const SocketMessage& message : queue) bytes += message.bytes;
    if (place >= bytes.size()) return;
    queue.clear();
    if (place != 0) queue.push_back({bytes.substr(0, place), "", {}});
    queue.push_back({bytes.substr(place, 1), "", {}, Urgency::unread});
    if (place + 1 < bytes.size()) queue.push_back({bytes.substr(place + 1), "", {}});
  }

  [[nodiscard]] bool is_at_mark() const {
    int at = 0;
    return ::ioctl(own_, SIOCATMARK, &at) == 0 && at != 0;
  }

  // Behind the last byte of a stream is its error, which is not to be received.
  [[nodiscard]] std::size_t room_behind(std::size_t seen) const {
    if (!has_unread_error(own_)) return kMostBytes;
    const std::size_t waiting = unread_bytes(own_);
    return waiting > seen ? waiting - seen : 0;
  }

  void look_from(std::size_t begin) const {
    const int offset = static_cast<int>(begin);
    ::setsockopt(own_, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset);
  }

  // Of a stream: how many have been sent before those that the descriptors came with, which are the
  // last ones. A receive takes both together if it has room for them, and looking tells of the
  // descriptors ahead whatever its room. But each message is copied as a whole: without room for
  // the last byte (at no address) the one with the descriptors is not.
  [[nodiscard]] std::size_t plain_bytes(std::size_t begin, std::size_t bytes) const {
    look_from(begin);
    std::array<iovec, 2> pieces = {iovec{room_.get(), bytes - 1}, iovec{nullptr, 1}};
    msghdr head{};
    head.msg_iov = pieces.data();
    head.msg_iovlen = pieces.size();
    const ssize_t got = ::recvmsg(own_, &head, MSG_PEEK | MSG_DONTWAIT);
    look_from(begin + bytes);
    return got > 0 && static_cast<std::size_t>(got) < bytes ? static_cast<std::size_t>(got) : 0;
  }

  static std::vector<UniqueFd> rights_in(const cmsghdr& part) {
    std::vector<int> passed((part.cmsg_len - CMSG_LEN(0)) / sizeof(int));
    std::memcpy(passed.data(), CMSG_DATA(&part), passed.size() * sizeof(int));
    std::vector<UniqueFd> owned;
    owned.reserve(passed.size());
    for (const int fd : passed) owned.emplace_back(fd);
    return owned;
  }

  bool next(bool whole, std::size_t room, SocketMessage& message,
            const DescribePassed& describe_passed) {
    if (room == 0) return false;
    constexpr std::size_t kMostDescriptors = 253;  // SCM_MAX_FD
    sockaddr_storage from{};
    alignas(cmsghdr) std::array<char, 4096> control{};
    static_assert(control.size() >= CMSG_SPACE(kMostDescriptors * sizeof(int)));
    iovec piece{room_.get(), std::min(room, kMostBytes)};
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
      for (auto& fd : rights_in(*part))
        if (describe_passed) message.descriptors.push_back(describe_passed(std::move(fd)));
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

bool has_unread_error(int own) { return has_event(own, POLLERR); }

SocketQueue look_at_queue(int own, QueueKind kind, const DescribePassed& describe_passed) {
  SocketQueue queue;
  switch (kind) {
    case QueueKind::messages:
      if (has_unread_error(own))
        queue.hidden = unread_bytes(own) != 0;
      else
        queue.messages = Peeker(own).messages(describe_passed);
      break;
    case QueueKind::stream:
      queue.messages = Peeker(own).stream(describe_passed);
      queue.urgent_lost = has_event(own, POLLPRI);
      break;
    case QueueKind::tcp: return Peeker(own).tcp();
  }
  return queue;
}

}  // namespace ckpt::state
