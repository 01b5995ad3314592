#include "state/sockets/sockets.hpp"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/io.hpp"

namespace ckpt::state {

namespace {

using image::Json;

constexpr std::array<std::pair<SocketRole, std::string_view>, 5> kRoles = {{
    {SocketRole::plain, "plain"},
    {SocketRole::listening, "listening"},
    {SocketRole::connected, "connected"},
    {SocketRole::waiting, "waiting"},
    {SocketRole::dead, "dead"},
}};

constexpr std::size_t kLongestAddress = sizeof(sockaddr_storage);

template <typename T>
T as_address(const std::string& address) {
  T typed{};
  std::memcpy(&typed, address.data(), std::min(address.size(), sizeof typed));
  return typed;
}

struct Address {
  static Json write(const std::string& address) { return image::Bytes::write(address); }
  static std::string read(const Json& json) {
    std::string address = image::Bytes::read(json);
    if (address.size() > kLongestAddress) image::damaged("the address of a socket");
    return address;
  }
  static Json type(image::Catalog& /*catalog*/) { return "bytes"; }
};

// For readers of the record; nothing is read back from it.
template <auto Member>
struct AddressText {
  static Json write(const Socket& socket) { return address_text(socket.*Member); }
  static void read(const Json& /*json*/, Socket& /*socket*/) {}
  static Json type(image::Catalog& /*catalog*/) { return "text"; }
};

constexpr std::array<std::pair<Urgency, std::string_view>, 3> kUrgencies = {{
    {Urgency::none, "none"},
    {Urgency::unread, "unread"},
    {Urgency::taken, "taken"},
}};

std::string path_text(const std::string& address) {
  constexpr std::size_t kPathAt = offsetof(sockaddr_un, sun_path);
  if (address.size() <= kPathAt) return "";
  std::string path = address.substr(kPathAt);
  if (path[0] == '\0') {
    path[0] = '@';
    return path;
  }
  path.resize(std::min(path.find('\0'), path.size()));
  return path;
}

}  // namespace

std::string address_text(const std::string& address) {
  if (address.size() < sizeof(sa_family_t)) return "";
  std::array<char, INET6_ADDRSTRLEN> text{};
  switch (as_address<sockaddr>(address).sa_family) {
    case AF_UNIX: return path_text(address);
    case AF_INET: {
      const auto inet = as_address<sockaddr_in>(address);
      ::inet_ntop(AF_INET, &inet.sin_addr, text.data(), text.size());
      return fmt::format("{}:{}", text.data(), ntohs(inet.sin_port));
    }
    case AF_INET6: {
      const auto inet = as_address<sockaddr_in6>(address);
      // The same connection is seen as IPv4 by its other end.
      if (IN6_IS_ADDR_V4MAPPED(&inet.sin6_addr)) {
        ::inet_ntop(AF_INET, &inet.sin6_addr.s6_addr[12], text.data(), text.size());
        return fmt::format("{}:{}", text.data(), ntohs(inet.sin6_port));
      }
      ::inet_ntop(AF_INET6, &inet.sin6_addr, text.data(), text.size());
      return fmt::format("[{}]:{}", text.data(), ntohs(inet.sin6_port));
    }
    case AF_NETLINK: {
      const auto netlink = as_address<sockaddr_nl>(address);
      return fmt::format("netlink port {}", netlink.nl_pid);
    }
    default: return "";
  }
}

std::string name_for_people(const std::string& address) {
  const std::string text = address_text(address);
  return text.empty() ? "an address of no name" : text;
}

namespace {

bool is_inet(const Socket& socket) { return socket.domain == AF_INET || socket.domain == AF_INET6; }

// IPv4 and IPv6 may talk with each other.
std::string sender_key(const Socket& socket, std::string_view name) {
  const int domain = is_inet(socket) ? AF_INET : socket.domain;
  return fmt::format("{} {} {}", domain, socket.protocol, name);
}

constexpr std::string_view kAny4 = "0.0.0.0";
constexpr std::string_view kAny6 = "[::]";

std::string_view port_of(std::string_view name) {
  return name.substr(std::min(name.rfind(':'), name.size()));
}

}  // namespace

void Senders::add(const Socket& socket) {
  const std::string name = address_text(socket.name);
  if (name.empty()) return;
  by_name_.emplace(sender_key(socket, name), &socket);
}

const Socket* Senders::find(const Socket& receiver, const std::string& from) const {
  const std::string name = address_text(from);
  if (name.empty()) return nullptr;
  if (const auto found = by_name_.find(sender_key(receiver, name)); found != by_name_.end())
    return found->second;
  if (!is_inet(receiver)) return nullptr;
  for (const std::string_view any : {kAny4, kAny6}) {
    if (any == kAny4 && name.starts_with('[')) continue;
    const auto bound = fmt::format("{}{}", any, port_of(name));
    const auto found = by_name_.find(sender_key(receiver, bound));
    if (found != by_name_.end()) return found->second;
  }
  return nullptr;
}

bool is_local_name_in_use(const std::string& name) {
  // The last word of a line is the name, as the socket was given it.
  const auto table = try_read_file("/proc/net/unix");
  return table && (*table).find(" " + name + "\n") != std::string::npos;
}

bool is_tcp(const Socket& socket) {
  return is_inet(socket) && (socket.protocol == IPPROTO_TCP || socket.protocol == IPPROTO_MPTCP);
}

bool is_udp(const Socket& socket) {
  return (socket.domain == AF_INET || socket.domain == AF_INET6) && socket.type == SOCK_DGRAM &&
         (socket.protocol == IPPROTO_UDP || socket.protocol == IPPROTO_UDPLITE);
}

bool is_on(const Socket& socket, int level, int name) {
  return std::any_of(socket.options.begin(), socket.options.end(), [&](const SocketOption& option) {
    return option.level == level && option.name == name &&
           option.value.find_first_not_of('\0') != std::string::npos;
  });
}

bool listens_at(const Socket& listening, const std::string& address) {
  if (!is_tcp(listening)) return false;
  const std::string at = address_text(listening.name);
  const std::string to = address_text(address);
  if (at == to) return true;
  if (port_of(at) != port_of(to)) return false;
  const bool six = to.starts_with('[');
  // An address of IPv4 may be seen mapped by a socket of IPv6.
  if (at.starts_with(kAny6)) return six || !is_on(listening, IPPROTO_IPV6, IPV6_V6ONLY);
  return at.starts_with(kAny4) && !six;
}

bool sees_packets(const Socket& socket) {
  return socket.domain == AF_PACKET ||
         (is_inet(socket) && (socket.type == SOCK_RAW || socket.protocol == IPPROTO_ICMP ||
                              socket.protocol == IPPROTO_ICMPV6));
}

std::string family_name(const Socket& socket) {
  if (socket.domain == AF_UNIX) return "local socket";
  if (socket.domain == AF_NETLINK) return "netlink socket";
  if (is_inet(socket) && socket.type == SOCK_STREAM && socket.protocol == IPPROTO_TCP)
    return "TCP socket";
  if (is_inet(socket) && socket.type == SOCK_DGRAM && socket.protocol == IPPROTO_UDP)
    return "UDP socket";
  return kind_for_people(socket.domain, socket.type, socket.protocol);
}

std::string kind_for_people(int domain, int type, int protocol) {
  constexpr auto kFamilies = std::to_array<std::pair<int, std::string_view>>({
      {AF_PACKET, "packet socket"},
      {AF_VSOCK, "vsock socket"},
      {AF_BLUETOOTH, "Bluetooth socket"},
      {AF_ALG, "crypto socket (AF_ALG)"},
      {AF_CAN, "CAN socket"},
      {AF_XDP, "XDP socket"},
      {AF_TIPC, "TIPC socket"},
      {AF_KEY, "key socket (AF_KEY)"},
      {AF_NFC, "NFC socket"},
      {AF_RDS, "RDS socket"},
      {AF_SMC, "SMC socket"},
      {AF_QIPCRTR, "QRTR socket"},
      {AF_PPPOX, "PPP socket"},
      {AF_KCM, "KCM socket"},
      {AF_RXRPC, "RxRPC socket"},
      {AF_PHONET, "Phonet socket"},
      {AF_IEEE802154, "IEEE 802.15.4 socket"},
  });
  const auto* const family = std::find_if(kFamilies.begin(), kFamilies.end(),
                                          [&](const auto& one) { return one.first == domain; });
  if (family != kFamilies.end()) return std::string(family->second);
  if (domain != AF_INET && domain != AF_INET6)
    return fmt::format("socket of the address family {}", domain);
  if (type == SOCK_RAW) return fmt::format("raw IP socket, protocol {}", protocol);
  if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) return "ping socket (ICMP)";
  if (protocol == IPPROTO_SCTP) return "SCTP socket";
  if (protocol == IPPROTO_MPTCP) return "MPTCP socket";
  if (protocol == IPPROTO_UDPLITE) return "UDP-Lite socket";
  if (protocol == IPPROTO_DCCP) return "DCCP socket";
  return fmt::format("IP socket, protocol {}", protocol);
}

const image::Fields<SocketOption>& fields_of(const SocketOption* /*type*/) {
  static const image::Fields<SocketOption> fields = {
      "socket_option",
      {{"level", &SocketOption::level, ""},
       {"name", &SocketOption::name, ""},
       image::Field<SocketOption>::as<image::Bytes>("value", &SocketOption::value, "")},
      [](SocketOption& option) {
        if (option.value.size() > kLongestOption) image::damaged("an option of a socket");
      }};
  return fields;
}

const image::Fields<SocketMessage>& fields_of(const SocketMessage* /*type*/) {
  using enum image::Presence;
  using M = SocketMessage;
  using Field = image::Field<M>;
  static const image::Fields<M> fields = {
      "socket_message",
      {Field::as<image::Bytes>("bytes", &M::bytes, ""),
       Field::as<Address>("from", &M::from, "the sender's address"),
       {"descriptors", &M::descriptors, "descriptions"},
       Field::as<image::Named<kUrgencies>>(
           "urgent", &M::urgency,
           "of a byte that was sent with MSG_OOB: `taken` when only its mark is left", unusual)},
      [](M& message) {
        if (message.urgency != Urgency::none && message.bytes.size() != 1)
          image::damaged("what waits in a socket");
      }};
  return fields;
}

const image::Fields<Socket>& fields_of(const Socket* /*type*/) {
  using enum image::Presence;
  using S = Socket;
  using Field = image::Field<S>;
  static const image::Fields<S> fields = {
      "socket",
      {{"id", &S::id, "inode"},
       {"domain", &S::domain, ""},
       {"type", &S::type, ""},
       {"protocol", &S::protocol, ""},
       Field::as<image::Named<kRoles>>(
           "role", &S::role,
           "`connected` with another socket here, `waiting` to be accepted by one"),
       Field::as<image::Bytes>("interface", &S::interface, "the name of a packet socket's", later),
       Field::as<Address>("name", &S::name, "struct sockaddr"),
       Field::as<Address>("peer_name", &S::peer_name, "likewise"),
       Field::by<AddressText<&S::name>>("address", "the same in words"),
       Field::by<AddressText<&S::peer_name>>("peer_address", "likewise"),
       {"free_name", &S::free_name, "no address of the machine", later},
       {"peer", &S::peer, "an `id`"},
       {"backlog", &S::backlog, ""},
       {"no_receiving", &S::no_receiving, "shutdown(2)"},
       {"no_sending", &S::no_sending, "likewise"},
       {"ended", &S::ended, "the far end had closed"},
       {"broken", &S::broken, "the far end was inside, but what was on its way could not be read",
        later},
       {"over", &S::over, "closed both ways, or ended by an error", later},
       {"error", &S::error, "which the program had not read, an errno value", later},
       {"path_mode", &S::path_mode, "of a local socket's file"},
       {"path_owner", &S::path_owner, "likewise; -1: not known", later},
       {"path_group", &S::path_group, "likewise", later},
       Field::as<image::Bytes>("place", &S::place,
                               "of that file, if it is not at the socket's name", later),
       {"no_file", &S::no_file, "it is removed", later},
       {"options", &S::options, ""},
       {"queue", &S::queue, "what waits to be received"}},
      [](S& socket) {
        if (!socket.place.empty() && !socket.place.starts_with('/'))
          image::damaged("the place of a socket's file");
      }};
  return fields;
}

}  // namespace ckpt::state
