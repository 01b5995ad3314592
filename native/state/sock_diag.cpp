#include "state/sock_diag.hpp"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "base/unique_fd.hpp"

namespace ckpt::state {

namespace {

#ifndef SOCK_DESTROY
constexpr std::uint16_t kDestroy = 21;
#else
constexpr std::uint16_t kDestroy = SOCK_DESTROY;
#endif

template <typename Request>
struct Question {
  nlmsghdr head{};
  Request request{};
};

class Netlink {
 public:
  Netlink() : fd_(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)) {}

  template <typename Request>
  bool ask(const Request& request, std::uint16_t type, std::uint16_t flags) {
    Question<Request> question;
    question.head.nlmsg_len = sizeof question;
    question.head.nlmsg_type = type;
    question.head.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    question.request = request;
    return fd_ && ::send(fd_.get(), &question, sizeof question, 0) ==
                      static_cast<ssize_t>(sizeof question);
  }

  // Calls `take` with the content of each message of one answer; false at the end of a list, or at
  // an error.
  template <typename Take>
  bool answer(const Take& take) {
    const ssize_t got = ::recv(fd_.get(), room_.data(), room_.size(), 0);
    const char* at = room_.data();
    const char* end = at + std::max<ssize_t>(got, 0);
    while (end - at >= static_cast<std::ptrdiff_t>(sizeof(nlmsghdr))) {
      nlmsghdr head{};
      std::memcpy(&head, at, sizeof head);
      if (head.nlmsg_len < sizeof head || head.nlmsg_len > end - at ||
          head.nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return false;
      take(at + NLMSG_HDRLEN, at + head.nlmsg_len);
      at += NLMSG_ALIGN(head.nlmsg_len);
    }
    return got > 0;
  }

 private:
  UniqueFd fd_;
  alignas(nlmsghdr) std::array<char, 1U << 16U> room_{};
};

bool is_local_address(const inet_diag_sockid& id, const std::string& address) {
  sockaddr_in four{};
  sockaddr_in6 six{};
  std::memcpy(&four, address.data(), std::min(address.size(), sizeof four));
  std::memcpy(&six, address.data(), std::min(address.size(), sizeof six));
  return id.idiag_sport == (four.sin_family == AF_INET6 ? six.sin6_port : four.sin_port);
}

}  // namespace

namespace {

// Calls `take` with the type, the content and its size, of each attribute.
template <typename Take>
void each_attribute(const char* at, const char* end, const Take& take) {
  while (end - at >= static_cast<std::ptrdiff_t>(sizeof(nlattr))) {
    nlattr attribute{};
    std::memcpy(&attribute, at, sizeof attribute);
    if (attribute.nla_len < sizeof attribute || attribute.nla_len > end - at) break;
    take(attribute.nla_type, at + NLA_HDRLEN, attribute.nla_len - std::size_t{NLA_HDRLEN});
    at += NLA_ALIGN(attribute.nla_len);
  }
}

LocalSocketInfo info_in(const unix_diag_msg& message, const char* at, const char* end) {
  LocalSocketInfo info;
  info.state = message.udiag_state;
  each_attribute(at, end, [&](std::uint16_t type, const char* data, std::size_t bytes) {
    const auto copy = [&](auto& value) {
      if (bytes >= sizeof value) std::memcpy(&value, data, sizeof value);
    };
    unix_diag_rqlen lengths{};
    switch (type) {
      case UNIX_DIAG_PEER: copy(info.peer); break;
      case UNIX_DIAG_SHUTDOWN: copy(info.shutdown); break;
      case UNIX_DIAG_RQLEN:
        copy(lengths);
        info.backlog = lengths.udiag_wqueue;
        break;
      case UNIX_DIAG_ICONS:
        info.waiting.resize(bytes / sizeof(std::uint32_t));
        if (!info.waiting.empty())
          std::memcpy(info.waiting.data(), data, info.waiting.size() * sizeof(std::uint32_t));
        break;
      default: break;
    }
  });
  return info;
}

// Those that a question leads to: one, or all.
template <typename Take>
void ask_local(std::uint32_t inode, std::uint16_t flags, const Take& take) {
  Netlink netlink;
  unix_diag_req request{};
  request.sdiag_family = AF_UNIX;
  request.udiag_states = ~0U;
  request.udiag_ino = inode;
  request.udiag_show = UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS | UDIAG_SHOW_RQLEN;
  request.udiag_cookie[0] = request.udiag_cookie[1] = ~0U;
  if (!netlink.ask(request, SOCK_DIAG_BY_FAMILY, flags)) return;
  const auto take_one = [&](const char* at, const char* end) {
    unix_diag_msg message{};
    if (end - at < static_cast<std::ptrdiff_t>(sizeof message)) return;
    std::memcpy(&message, at, sizeof message);
    take(message.udiag_ino, info_in(message, at + NLMSG_ALIGN(sizeof message), end));
  };
  while (netlink.answer(take_one) && flags == NLM_F_DUMP) {
  }
}

}  // namespace

std::optional<LocalSocketInfo> LocalSockets::find(std::uint64_t inode) {
  const auto number = static_cast<std::uint32_t>(inode);
  constexpr int kFew = 16;
  if (++asked_ == kFew)
    ask_local(0, NLM_F_DUMP, [this](std::uint32_t one, LocalSocketInfo info) {
      known_.insert_or_assign(one, std::move(info));
    });
  if (const auto known = known_.find(number); known != known_.end()) return known->second;
  std::optional<LocalSocketInfo> found;
  ask_local(number, 0, [&](std::uint32_t, LocalSocketInfo info) { found = std::move(info); });
  return found;
}

std::uint8_t UdpSockets::shutdown(std::uint64_t inode) {
  const auto take_one = [this](const char* at, const char* end) {
    inet_diag_msg message{};
    if (end - at < static_cast<std::ptrdiff_t>(sizeof message)) return;
    std::memcpy(&message, at, sizeof message);
    each_attribute(at + NLMSG_ALIGN(sizeof message), end,
                   [&](std::uint16_t type, const char* data, std::size_t bytes) {
                     if (type == INET_DIAG_SHUTDOWN && bytes == 1)
                       known_->insert_or_assign(message.idiag_inode,
                                                static_cast<std::uint8_t>(*data));
                   });
  };
  if (!known_) {
    known_.emplace();
    for (const int family : {AF_INET, AF_INET6}) {
      Netlink netlink;
      inet_diag_req_v2 request{};
      request.sdiag_family = static_cast<std::uint8_t>(family);
      request.sdiag_protocol = IPPROTO_UDP;
      request.idiag_states = ~0U;
      if (!netlink.ask(request, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP)) continue;
      while (netlink.answer(take_one)) {
      }
    }
  }
  const auto found = known_->find(static_cast<std::uint32_t>(inode));
  return found == known_->end() ? std::uint8_t{0} : found->second;
}

void forget_closed_connections(const std::string& address) {
  if (address.size() < sizeof(sockaddr_in)) return;
  std::vector<std::pair<std::uint8_t, inet_diag_sockid>> closed;
  for (const int family : {AF_INET, AF_INET6}) {
    Netlink netlink;
    inet_diag_req_v2 request{};
    request.sdiag_family = static_cast<std::uint8_t>(family);
    request.sdiag_protocol = IPPROTO_TCP;
    request.idiag_states = 1U << TCP_TIME_WAIT;
    if (!netlink.ask(request, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP)) continue;
    while (netlink.answer([&](const char* at, const char* end) {
      inet_diag_msg message{};
      if (end - at < static_cast<std::ptrdiff_t>(sizeof message)) return;
      std::memcpy(&message, at, sizeof message);
      if (is_local_address(message.id, address))
        closed.emplace_back(message.idiag_family, message.id);
    })) {
    }
  }
  for (const auto& [family, id] : closed) {
    Netlink netlink;
    inet_diag_req_v2 request{};
    request.sdiag_family = family;
    request.sdiag_protocol = IPPROTO_TCP;
    request.idiag_states = 1U << TCP_TIME_WAIT;
    request.id = id;
    if (netlink.ask(request, kDestroy, NLM_F_ACK)) netlink.answer([](const char*, const char*) {});
  }
}

}  // namespace ckpt::state
