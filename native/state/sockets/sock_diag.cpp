#include "state/sockets/sock_diag.hpp"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/packet_diag.h>
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

constexpr std::uint16_t kProtocolAttribute = 3;  // INET_DIAG_REQ_PROTOCOL, since Linux 5.9

// A protocol's number may have more than eight bits, which an attribute has room for.
struct InetRequest {
  inet_diag_req_v2 request{};
  nlattr head{sizeof(nlattr) + sizeof(std::uint32_t), kProtocolAttribute};
  std::uint32_t number = 0;
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
    unix_diag_vfs file{};
    switch (type) {
      case UNIX_DIAG_PEER: copy(info.peer); break;
      case UNIX_DIAG_SHUTDOWN: copy(info.shutdown); break;
      case UNIX_DIAG_VFS:
        copy(file);
        info.file_inode = file.udiag_vfs_ino;
        info.file_device = file.udiag_vfs_dev;
        break;
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
  request.udiag_show = UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS | UDIAG_SHOW_RQLEN | UDIAG_SHOW_VFS;
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

std::vector<LocalSocketInfo> all_local_sockets() {
  std::vector<LocalSocketInfo> all;
  ask_local(0, NLM_F_DUMP,
            [&](std::uint32_t, LocalSocketInfo info) { all.push_back(std::move(info)); });
  return all;
}

std::optional<InetSocketInfo> InetSockets::find(int protocol, std::uint64_t inode) {
  const auto [known, is_new] = known_.try_emplace(protocol);
  auto& sockets = known->second;
  const auto take_one = [&](const char* at, const char* end) {
    inet_diag_msg message{};
    if (end - at < static_cast<std::ptrdiff_t>(sizeof message)) return;
    std::memcpy(&message, at, sizeof message);
    InetSocketInfo info{message.idiag_state, 0};
    each_attribute(at + NLMSG_ALIGN(sizeof message), end,
                   [&](std::uint16_t type, const char* data, std::size_t bytes) {
                     if (type == INET_DIAG_SHUTDOWN && bytes == 1)
                       info.shutdown = static_cast<std::uint8_t>(*data);
                   });
    sockets.insert_or_assign(message.idiag_inode, info);
  };
  for (const int family : {AF_INET, AF_INET6}) {
    if (!is_new) break;
    Netlink netlink;
    InetRequest request;
    request.request.sdiag_family = static_cast<std::uint8_t>(family);
    request.request.sdiag_protocol = static_cast<std::uint8_t>(protocol);
    request.request.idiag_states = ~0U;
    request.number = static_cast<std::uint32_t>(protocol);
    if (!netlink.ask(request, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP)) continue;
    while (netlink.answer(take_one)) {
    }
  }
  const auto found = sockets.find(static_cast<std::uint32_t>(inode));
  if (found == sockets.end()) return std::nullopt;
  return found->second;
}

std::optional<PacketSocketInfo> find_packet_socket(std::uint64_t inode) {
  Netlink netlink;
  packet_diag_req request{};
  request.sdiag_family = AF_PACKET;
  request.pdiag_show = PACKET_SHOW_INFO | PACKET_SHOW_MCLIST | PACKET_SHOW_RING_CFG;
  std::optional<PacketSocketInfo> found;
  if (!netlink.ask(request, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP)) return found;
  const auto take_one = [&](const char* at, const char* end) {
    packet_diag_msg message{};
    if (end - at < static_cast<std::ptrdiff_t>(sizeof message)) return;
    std::memcpy(&message, at, sizeof message);
    if (message.pdiag_ino != static_cast<std::uint32_t>(inode)) return;
    PacketSocketInfo info;
    info.protocol = message.pdiag_num;
    each_attribute(
        at + NLMSG_ALIGN(sizeof message), end,
        [&](std::uint16_t type, const char* data, std::size_t bytes) {
          if (type == PACKET_DIAG_RX_RING || type == PACKET_DIAG_TX_RING) info.has_ring = true;
          packet_diag_info told{};
          if (type == PACKET_DIAG_INFO && bytes >= sizeof told) {
            std::memcpy(&told, data, sizeof told);
            info.copy_threshold = told.pdi_copy_thresh;
          }
          packet_diag_mclist one{};
          for (; type == PACKET_DIAG_MCLIST && bytes >= sizeof one;
               bytes -= sizeof one, data += sizeof one) {
            std::memcpy(&one, data, sizeof one);
            const auto length = std::min<std::size_t>(one.pdmc_alen, sizeof one.pdmc_addr);
            info.memberships.push_back({static_cast<int>(one.pdmc_index),
                                        one.pdmc_type,
                                        {reinterpret_cast<const char*>(one.pdmc_addr), length}});
          }
        });
    found = std::move(info);
  };
  while (netlink.answer(take_one)) {
  }
  return found;
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
