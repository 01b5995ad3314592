#include "state/sockets/socket_addresses.hpp"

#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "state/sockets/sockets.hpp"

namespace ckpt::state {

namespace {

// sin_port and sin6_port are at the same place.
constexpr std::size_t kPortAt = offsetof(sockaddr_in, sin_port);
static_assert(kPortAt == offsetof(sockaddr_in6, sin6_port));

bool is_mapped(const std::string& address) {
  sockaddr_in6 six{};
  std::memcpy(&six, address.data(), std::min(address.size(), sizeof six));
  return six.sin6_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six.sin6_addr);
}

}  // namespace

int family_of(const std::string& address) {
  sa_family_t family = AF_UNSPEC;
  std::memcpy(&family, address.data(), std::min(address.size(), sizeof family));
  return family;
}

std::string family_only(int domain) {
  const auto family = static_cast<sa_family_t>(domain);
  return {reinterpret_cast<const char*>(&family), sizeof family};
}

bool is_of_no_port(const std::string& address) {
  const std::string text = address_text(address);
  return text == "0.0.0.0:0" || text == "[::]:0" || text == "netlink port 0";
}

std::string loopback(int domain) {
  if (domain == AF_INET6) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_addr = in6addr_loopback;
    return {reinterpret_cast<const char*>(&address), sizeof address};
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return {reinterpret_cast<const char*>(&address), sizeof address};
}

std::string for_family(int domain, const std::string& address) {
  sockaddr_in four{};
  sockaddr_in6 six{};
  if (domain == AF_INET6 && family_of(address) == AF_INET) {
    std::memcpy(&four, address.data(), std::min(address.size(), sizeof four));
    six.sin6_family = AF_INET6;
    six.sin6_port = four.sin_port;
    six.sin6_addr.s6_addr[10] = six.sin6_addr.s6_addr[11] = 0xff;
    std::memcpy(&six.sin6_addr.s6_addr[12], &four.sin_addr, sizeof four.sin_addr);
    return {reinterpret_cast<const char*>(&six), sizeof six};
  }
  if (domain == AF_INET && is_mapped(address)) {
    std::memcpy(&six, address.data(), std::min(address.size(), sizeof six));
    four.sin_family = AF_INET;
    four.sin_port = six.sin6_port;
    std::memcpy(&four.sin_addr, &six.sin6_addr.s6_addr[12], sizeof four.sin_addr);
    return {reinterpret_cast<const char*>(&four), sizeof four};
  }
  return address;
}

bool is_inet_address(const std::string& address) {
  return family_of(address) == AF_INET || family_of(address) == AF_INET6;
}

std::string with_port_of(std::string address, const std::string& other) {
  const bool is_netlink = family_of(address) == AF_NETLINK;
  const std::size_t at = is_netlink ? offsetof(sockaddr_nl, nl_pid) : kPortAt;
  const std::size_t bytes = is_netlink ? sizeof(__u32) : sizeof(in_port_t);
  const bool of_one_kind = family_of(address) == family_of(other) ||
                           (is_inet_address(address) && is_inet_address(other));
  if (of_one_kind && std::min(address.size(), other.size()) >= at + bytes)
    std::memcpy(address.data() + at, other.data() + at, bytes);
  return address;
}

bool is_kernel(const std::string& address) {
  sockaddr_nl peer{};
  std::memcpy(&peer, address.data(), std::min(address.size(), sizeof peer));
  return peer.nl_family == AF_NETLINK && peer.nl_pid == 0 && peer.nl_groups == 0;
}

std::string with_any_port(const std::string& address) {
  std::string any = family_only(family_of(address));
  any.resize(address.size());
  return with_port_of(address, any);
}

}  // namespace ckpt::state
