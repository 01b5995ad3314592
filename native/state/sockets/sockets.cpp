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

Json bytes_to_json(const std::string& bytes) {
  return image::pack_bytes(bytes.data(), bytes.size());
}

std::string address_from_json(const Json& json) {
  std::string address = image::unpack_string(json);
  if (address.size() > kLongestAddress) image::damaged("the address of a socket");
  return address;
}

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

Json socket_to_json(const Socket& socket) {
  std::string_view role;
  for (const auto& [value, name] : kRoles)
    if (value == socket.role) role = name;
  Json options = Json::array();
  for (const auto& option : socket.options)
    options.push_back(
        {{"level", option.level}, {"name", option.name}, {"value", bytes_to_json(option.value)}});
  Json queue = Json::array();
  for (const auto& message : socket.queue) {
    queue.push_back({{"bytes", bytes_to_json(message.bytes)},
                     {"from", bytes_to_json(message.from)},
                     {"descriptors", message.descriptors}});
    if (message.urgent) queue.back()["urgent"] = message.taken ? "taken" : "unread";
  }
  return {{"id", socket.id},
          {"domain", socket.domain},
          {"type", socket.type},
          {"protocol", socket.protocol},
          {"role", role},
          {"interface", image::pack_bytes(socket.interface.data(), socket.interface.size())},
          {"name", bytes_to_json(socket.name)},
          {"peer_name", bytes_to_json(socket.peer_name)},
          {"address", address_text(socket.name)},
          {"peer_address", address_text(socket.peer_name)},
          {"peer", socket.peer},
          {"backlog", socket.backlog},
          {"no_receiving", socket.no_receiving},
          {"no_sending", socket.no_sending},
          {"ended", socket.ended},
          {"broken", socket.broken},
          {"over", socket.over},
          {"error", socket.error},
          {"path_mode", socket.path_mode},
          {"path_owner", socket.path_owner},
          {"path_group", socket.path_group},
          {"free_name", socket.free_name},
          {"place", bytes_to_json(socket.place)},
          {"no_file", socket.no_file},
          {"options", std::move(options)},
          {"queue", std::move(queue)}};
}

Socket socket_from_json(const Json& json) {
  Socket socket;
  socket.id = json.at("id");
  socket.domain = json.at("domain");
  socket.type = json.at("type");
  socket.protocol = json.at("protocol");
  const auto role = json.at("role").get<std::string>();
  const auto* known = std::find_if(kRoles.begin(), kRoles.end(),
                                   [&](const auto& entry) { return entry.second == role; });
  if (known == kRoles.end()) image::damaged("the role of a socket");
  socket.role = known->first;
  if (json.contains("interface")) socket.interface = image::unpack_string(json.at("interface"));
  socket.name = address_from_json(json.at("name"));
  socket.peer_name = address_from_json(json.at("peer_name"));
  socket.peer = json.at("peer");
  socket.backlog = json.at("backlog");
  socket.no_receiving = json.at("no_receiving");
  socket.no_sending = json.at("no_sending");
  socket.ended = json.at("ended");
  socket.broken = json.value("broken", false);
  socket.over = json.value("over", false);
  socket.error = json.value("error", 0);
  socket.path_mode = json.at("path_mode");
  socket.path_owner = json.value("path_owner", std::int64_t{-1});
  socket.path_group = json.value("path_group", std::int64_t{-1});
  if (json.contains("place")) socket.place = image::unpack_string(json.at("place"));
  if (!socket.place.empty() && !socket.place.starts_with('/'))
    image::damaged("the place of a socket's file");
  socket.free_name = json.value("free_name", false);
  socket.no_file = json.value("no_file", false);
  for (const Json& item : json.at("options")) {
    SocketOption option{item.at("level"), item.at("name"), image::unpack_string(item.at("value"))};
    if (option.value.size() > kLongestOption) image::damaged("an option of a socket");
    socket.options.push_back(std::move(option));
  }
  for (const Json& item : json.at("queue")) {
    SocketMessage message{image::unpack_string(item.at("bytes")),
                          address_from_json(item.at("from")),
                          item.at("descriptors").get<std::vector<std::size_t>>()};
    message.urgent = item.contains("urgent");
    message.taken = item.value("urgent", "") == "taken";
    if (message.urgent && message.bytes.size() != 1) image::damaged("what waits in a socket");
    socket.queue.push_back(std::move(message));
  }
  return socket;
}

}  // namespace ckpt::state
