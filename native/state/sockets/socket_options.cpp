#include "state/sockets/socket_options.hpp"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/error.hpp"
#include "base/io.hpp"
#include "base/unique_fd.hpp"
#include "proc/text.hpp"

namespace ckpt::state {

namespace {

struct OptionName {
  int level;
  int name;
  std::string_view text;
};

// Not in every distribution's headers: <asm-generic/socket.h>, <linux/in.h>, <linux/in6.h>,
// <linux/tcp.h>.
constexpr int kReceiveMark = 75;
constexpr int kPassPidfd = 76;
constexpr int kReceivePriority = 82;
constexpr int kPassRights = 83;
constexpr int kReserveMemory = 73;
constexpr int kRehash = 74;
constexpr int kReceiveErrorRfc4884v4 = 26;
constexpr int kFlowInfo6 = 11;
constexpr int kFlowInfoSend6 = 33;
constexpr int kLocalPortRange = 51;
constexpr int kMulticastAll6 = 29;
constexpr int kReceiveErrorRfc4884 = 31;
constexpr int kTransmitDelay = 37;
constexpr int kRouterAlertIsolate6 = 30;
constexpr int kHeaderIncluded6 = 36;
constexpr int kRtoMax = 44;
constexpr int kRtoMin = 45;
constexpr int kDelayedAckMax = 46;
// <linux/udp.h>, <linux/icmp.h>, <linux/icmpv6.h>, <linux/if_packet.h>.
constexpr int kSendCoverage = 10;
constexpr int kReceiveCoverage = 11;
constexpr int kIcmpFilter = 1;
constexpr int kIcmp6Filter = 1;
constexpr int kVnetHeaderSize = 24;

// What a program sets and the kernel tells again in the same form. Buffer sizes are told doubled.
// The order is that of setting: a type of service has a priority of its own, sizes lock themselves.
constexpr std::array kOptions = {
    OptionName{SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR"},
    OptionName{SOL_SOCKET, SO_REUSEPORT, "SO_REUSEPORT"},
    OptionName{SOL_SOCKET, SO_BINDTODEVICE, "SO_BINDTODEVICE"},
    OptionName{SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE"},
    OptionName{SOL_SOCKET, SO_BROADCAST, "SO_BROADCAST"},
    OptionName{SOL_SOCKET, SO_OOBINLINE, "SO_OOBINLINE"},
    OptionName{SOL_SOCKET, SO_LINGER, "SO_LINGER"},
    OptionName{SOL_SOCKET, SO_SNDBUF, "SO_SNDBUF"},
    OptionName{SOL_SOCKET, SO_RCVBUF, "SO_RCVBUF"},
    OptionName{SOL_SOCKET, kBufferLock, "SO_BUF_LOCK"},
    OptionName{SOL_SOCKET, SO_RCVLOWAT, "SO_RCVLOWAT"},
    OptionName{SOL_SOCKET, SO_RCVTIMEO, "SO_RCVTIMEO"},
    OptionName{SOL_SOCKET, SO_SNDTIMEO, "SO_SNDTIMEO"},
    OptionName{SOL_SOCKET, SO_DONTROUTE, "SO_DONTROUTE"},
    OptionName{SOL_SOCKET, SO_MARK, "SO_MARK"},
    OptionName{SOL_SOCKET, SO_NO_CHECK, "SO_NO_CHECK"},
    OptionName{SOL_SOCKET, SO_PASSCRED, "SO_PASSCRED"},
    OptionName{SOL_SOCKET, SO_PASSSEC, "SO_PASSSEC"},
    OptionName{SOL_SOCKET, kPassPidfd, "SO_PASSPIDFD"},
    OptionName{SOL_SOCKET, kPassRights, "SO_PASSRIGHTS"},
    OptionName{SOL_SOCKET, kReceiveMark, "SO_RCVMARK"},
    OptionName{SOL_SOCKET, kReceivePriority, "SO_RCVPRIORITY"},
    OptionName{SOL_SOCKET, SO_TIMESTAMP, "SO_TIMESTAMP"},
    OptionName{SOL_SOCKET, SO_TIMESTAMPNS, "SO_TIMESTAMPNS"},
    OptionName{SOL_SOCKET, SO_TIMESTAMPING, "SO_TIMESTAMPING"},
    OptionName{SOL_SOCKET, SO_SELECT_ERR_QUEUE, "SO_SELECT_ERR_QUEUE"},
    OptionName{SOL_SOCKET, SO_WIFI_STATUS, "SO_WIFI_STATUS"},
    OptionName{SOL_SOCKET, SO_NOFCS, "SO_NOFCS"},
    OptionName{SOL_SOCKET, SO_RXQ_OVFL, "SO_RXQ_OVFL"},
    OptionName{SOL_SOCKET, SO_ZEROCOPY, "SO_ZEROCOPY"},
    OptionName{SOL_SOCKET, SO_TXTIME, "SO_TXTIME"},
    OptionName{SOL_SOCKET, SO_MAX_PACING_RATE, "SO_MAX_PACING_RATE"},
    OptionName{SOL_SOCKET, SO_BUSY_POLL, "SO_BUSY_POLL"},
    OptionName{SOL_SOCKET, SO_PREFER_BUSY_POLL, "SO_PREFER_BUSY_POLL"},
    OptionName{SOL_SOCKET, SO_PEEK_OFF, "SO_PEEK_OFF"},
    OptionName{SOL_SOCKET, SO_INCOMING_CPU, "SO_INCOMING_CPU"},
    OptionName{SOL_SOCKET, kReserveMemory, "SO_RESERVE_MEM"},
    OptionName{SOL_SOCKET, kRehash, "SO_TXREHASH"},
    OptionName{IPPROTO_IP, IP_TOS, "IP_TOS"},
    OptionName{IPPROTO_IP, IP_TTL, "IP_TTL"},
    OptionName{IPPROTO_IP, IP_MINTTL, "IP_MINTTL"},
    OptionName{IPPROTO_IP, IP_OPTIONS, "IP_OPTIONS"},
    OptionName{IPPROTO_IP, IP_RECVOPTS, "IP_RECVOPTS"},
    OptionName{IPPROTO_IP, IP_RETOPTS, "IP_RETOPTS"},
    OptionName{IPPROTO_IP, IP_PKTINFO, "IP_PKTINFO"},
    OptionName{IPPROTO_IP, IP_RECVTTL, "IP_RECVTTL"},
    OptionName{IPPROTO_IP, IP_RECVTOS, "IP_RECVTOS"},
    OptionName{IPPROTO_IP, IP_RECVERR, "IP_RECVERR"},
    OptionName{IPPROTO_IP, kReceiveErrorRfc4884v4, "IP_RECVERR_RFC4884"},
    OptionName{IPPROTO_IP, IP_RECVORIGDSTADDR, "IP_RECVORIGDSTADDR"},
    OptionName{IPPROTO_IP, IP_RECVFRAGSIZE, "IP_RECVFRAGSIZE"},
    OptionName{IPPROTO_IP, IP_PASSSEC, "IP_PASSSEC"},
    OptionName{IPPROTO_IP, IP_CHECKSUM, "IP_CHECKSUM"},
    OptionName{IPPROTO_IP, IP_MTU_DISCOVER, "IP_MTU_DISCOVER"},
    OptionName{IPPROTO_IP, IP_FREEBIND, "IP_FREEBIND"},
    OptionName{IPPROTO_IP, IP_TRANSPARENT, "IP_TRANSPARENT"},
    OptionName{IPPROTO_IP, IP_NODEFRAG, "IP_NODEFRAG"},
    OptionName{IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, "IP_BIND_ADDRESS_NO_PORT"},
    OptionName{IPPROTO_IP, kLocalPortRange, "IP_LOCAL_PORT_RANGE"},
    OptionName{IPPROTO_IP, IP_UNICAST_IF, "IP_UNICAST_IF"},
    OptionName{IPPROTO_IP, IP_MULTICAST_IF, "IP_MULTICAST_IF"},
    OptionName{IPPROTO_IP, IP_MULTICAST_TTL, "IP_MULTICAST_TTL"},
    OptionName{IPPROTO_IP, IP_MULTICAST_LOOP, "IP_MULTICAST_LOOP"},
    OptionName{IPPROTO_IP, IP_MULTICAST_ALL, "IP_MULTICAST_ALL"},
    OptionName{IPPROTO_IP, MCAST_MSFILTER, "MCAST_MSFILTER"},
    OptionName{IPPROTO_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY"},
    OptionName{IPPROTO_IPV6, IPV6_UNICAST_HOPS, "IPV6_UNICAST_HOPS"},
    OptionName{IPPROTO_IPV6, IPV6_MINHOPCOUNT, "IPV6_MINHOPCOUNT"},
    OptionName{IPPROTO_IPV6, IPV6_MULTICAST_IF, "IPV6_MULTICAST_IF"},
    OptionName{IPPROTO_IPV6, IPV6_MULTICAST_HOPS, "IPV6_MULTICAST_HOPS"},
    OptionName{IPPROTO_IPV6, IPV6_MULTICAST_LOOP, "IPV6_MULTICAST_LOOP"},
    OptionName{IPPROTO_IPV6, kMulticastAll6, "IPV6_MULTICAST_ALL"},
    OptionName{IPPROTO_IPV6, IPV6_UNICAST_IF, "IPV6_UNICAST_IF"},
    OptionName{IPPROTO_IPV6, IPV6_MTU_DISCOVER, "IPV6_MTU_DISCOVER"},
    OptionName{IPPROTO_IPV6, IPV6_DONTFRAG, "IPV6_DONTFRAG"},
    OptionName{IPPROTO_IPV6, IPV6_FREEBIND, "IPV6_FREEBIND"},
    OptionName{IPPROTO_IPV6, IPV6_TRANSPARENT, "IPV6_TRANSPARENT"},
    OptionName{IPPROTO_IPV6, IPV6_RECVPKTINFO, "IPV6_RECVPKTINFO"},
    OptionName{IPPROTO_IPV6, IPV6_RECVHOPLIMIT, "IPV6_RECVHOPLIMIT"},
    OptionName{IPPROTO_IPV6, IPV6_RECVTCLASS, "IPV6_RECVTCLASS"},
    OptionName{IPPROTO_IPV6, IPV6_RECVERR, "IPV6_RECVERR"},
    OptionName{IPPROTO_IPV6, kReceiveErrorRfc4884, "IPV6_RECVERR_RFC4884"},
    OptionName{IPPROTO_IPV6, IPV6_RECVHOPOPTS, "IPV6_RECVHOPOPTS"},
    OptionName{IPPROTO_IPV6, IPV6_RECVDSTOPTS, "IPV6_RECVDSTOPTS"},
    OptionName{IPPROTO_IPV6, IPV6_RECVRTHDR, "IPV6_RECVRTHDR"},
    OptionName{IPPROTO_IPV6, IPV6_RECVPATHMTU, "IPV6_RECVPATHMTU"},
    OptionName{IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, "IPV6_RECVORIGDSTADDR"},
    OptionName{IPPROTO_IPV6, IPV6_RECVFRAGSIZE, "IPV6_RECVFRAGSIZE"},
    OptionName{IPPROTO_IPV6, IPV6_2292PKTINFO, "IPV6_2292PKTINFO"},
    OptionName{IPPROTO_IPV6, IPV6_2292HOPLIMIT, "IPV6_2292HOPLIMIT"},
    OptionName{IPPROTO_IPV6, IPV6_2292HOPOPTS, "IPV6_2292HOPOPTS"},
    OptionName{IPPROTO_IPV6, IPV6_2292DSTOPTS, "IPV6_2292DSTOPTS"},
    OptionName{IPPROTO_IPV6, IPV6_2292RTHDR, "IPV6_2292RTHDR"},
    OptionName{IPPROTO_IPV6, kRouterAlertIsolate6, "IPV6_ROUTER_ALERT_ISOLATE"},
    OptionName{IPPROTO_IPV6, IPV6_HOPOPTS, "IPV6_HOPOPTS"},
    OptionName{IPPROTO_IPV6, IPV6_RTHDR, "IPV6_RTHDR"},
    OptionName{IPPROTO_IPV6, IPV6_DSTOPTS, "IPV6_DSTOPTS"},
    OptionName{IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, "IPV6_AUTOFLOWLABEL"},
    OptionName{IPPROTO_IPV6, kFlowInfo6, "IPV6_FLOWINFO"},
    OptionName{IPPROTO_IPV6, kFlowInfoSend6, "IPV6_FLOWINFO_SEND"},
    OptionName{IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, "IPV6_ADDR_PREFERENCES"},
    OptionName{IPPROTO_IPV6, IPV6_TCLASS, "IPV6_TCLASS"},
    OptionName{IPPROTO_IPV6, MCAST_MSFILTER, "MCAST_MSFILTER"},
    OptionName{SOL_SOCKET, SO_PRIORITY, "SO_PRIORITY"},
    OptionName{IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY"},
    OptionName{IPPROTO_TCP, TCP_MAXSEG, "TCP_MAXSEG"},
    OptionName{IPPROTO_TCP, TCP_WINDOW_CLAMP, "TCP_WINDOW_CLAMP"},
    OptionName{IPPROTO_TCP, TCP_CORK, "TCP_CORK"},
    OptionName{IPPROTO_TCP, TCP_KEEPIDLE, "TCP_KEEPIDLE"},
    OptionName{IPPROTO_TCP, TCP_KEEPINTVL, "TCP_KEEPINTVL"},
    OptionName{IPPROTO_TCP, TCP_KEEPCNT, "TCP_KEEPCNT"},
    OptionName{IPPROTO_TCP, TCP_SYNCNT, "TCP_SYNCNT"},
    OptionName{IPPROTO_TCP, TCP_LINGER2, "TCP_LINGER2"},
    OptionName{IPPROTO_TCP, TCP_DEFER_ACCEPT, "TCP_DEFER_ACCEPT"},
    OptionName{IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, "TCP_THIN_LINEAR_TIMEOUTS"},
    OptionName{IPPROTO_TCP, TCP_USER_TIMEOUT, "TCP_USER_TIMEOUT"},
    OptionName{IPPROTO_TCP, TCP_SAVE_SYN, "TCP_SAVE_SYN"},
    OptionName{IPPROTO_TCP, TCP_FASTOPEN, "TCP_FASTOPEN"},
    OptionName{IPPROTO_TCP, TCP_FASTOPEN_CONNECT, "TCP_FASTOPEN_CONNECT"},
    OptionName{IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, "TCP_FASTOPEN_NO_COOKIE"},
    OptionName{IPPROTO_TCP, TCP_FASTOPEN_KEY, "TCP_FASTOPEN_KEY"},
    OptionName{IPPROTO_TCP, TCP_INQ, "TCP_INQ"},
    OptionName{IPPROTO_TCP, kRtoMax, "TCP_RTO_MAX_MS"},
    OptionName{IPPROTO_TCP, kRtoMin, "TCP_RTO_MIN_US"},
    OptionName{IPPROTO_TCP, kDelayedAckMax, "TCP_DELACK_MAX_US"},
    OptionName{IPPROTO_TCP, kTransmitDelay, "TCP_TX_DELAY"},
    OptionName{IPPROTO_TCP, TCP_NOTSENT_LOWAT, "TCP_NOTSENT_LOWAT"},
    OptionName{IPPROTO_TCP, TCP_CONGESTION, "TCP_CONGESTION"},
    OptionName{IPPROTO_UDP, UDP_CORK, "UDP_CORK"},
    OptionName{IPPROTO_UDP, UDP_ENCAP, "UDP_ENCAP"},
    OptionName{IPPROTO_UDP, UDP_NO_CHECK6_TX, "UDP_NO_CHECK6_TX"},
    OptionName{IPPROTO_UDP, UDP_NO_CHECK6_RX, "UDP_NO_CHECK6_RX"},
    OptionName{IPPROTO_UDP, UDP_SEGMENT, "UDP_SEGMENT"},
    OptionName{IPPROTO_UDP, UDP_GRO, "UDP_GRO"},
    OptionName{IPPROTO_UDPLITE, kSendCoverage, "UDPLITE_SEND_CSCOV"},
    OptionName{IPPROTO_UDPLITE, kReceiveCoverage, "UDPLITE_RECV_CSCOV"},
    OptionName{IPPROTO_IP, IP_HDRINCL, "IP_HDRINCL"},
    OptionName{SOL_RAW, kIcmpFilter, "ICMP_FILTER"},
    OptionName{IPPROTO_IPV6, kHeaderIncluded6, "IPV6_HDRINCL"},
    OptionName{IPPROTO_IPV6, IPV6_CHECKSUM, "IPV6_CHECKSUM"},
    OptionName{IPPROTO_ICMPV6, kIcmp6Filter, "ICMPV6_FILTER"},
    OptionName{SOL_PACKET, PACKET_VERSION, "PACKET_VERSION"},
    OptionName{SOL_PACKET, PACKET_RESERVE, "PACKET_RESERVE"},
    OptionName{SOL_PACKET, PACKET_AUXDATA, "PACKET_AUXDATA"},
    OptionName{SOL_PACKET, PACKET_ORIGDEV, "PACKET_ORIGDEV"},
    OptionName{SOL_PACKET, PACKET_LOSS, "PACKET_LOSS"},
    OptionName{SOL_PACKET, PACKET_VNET_HDR, "PACKET_VNET_HDR"},
    OptionName{SOL_PACKET, kVnetHeaderSize, "PACKET_VNET_HDR_SZ"},
    OptionName{SOL_PACKET, PACKET_TIMESTAMP, "PACKET_TIMESTAMP"},
    OptionName{SOL_PACKET, PACKET_TX_HAS_OFF, "PACKET_TX_HAS_OFF"},
    OptionName{SOL_PACKET, PACKET_QDISC_BYPASS, "PACKET_QDISC_BYPASS"},
    OptionName{SOL_PACKET, PACKET_IGNORE_OUTGOING, "PACKET_IGNORE_OUTGOING"},
    OptionName{SOL_PACKET, PACKET_FANOUT, "PACKET_FANOUT"},
    OptionName{SOL_NETLINK, NETLINK_PKTINFO, "NETLINK_PKTINFO"},
    OptionName{SOL_NETLINK, NETLINK_BROADCAST_ERROR, "NETLINK_BROADCAST_ERROR"},
    OptionName{SOL_NETLINK, NETLINK_NO_ENOBUFS, "NETLINK_NO_ENOBUFS"},
    OptionName{SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, "NETLINK_LISTEN_ALL_NSID"},
    OptionName{SOL_NETLINK, NETLINK_CAP_ACK, "NETLINK_CAP_ACK"},
    OptionName{SOL_NETLINK, NETLINK_EXT_ACK, "NETLINK_EXT_ACK"},
    OptionName{SOL_NETLINK, NETLINK_GET_STRICT_CHK, "NETLINK_GET_STRICT_CHK"},
    OptionName{SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, "NETLINK_ADD_MEMBERSHIP"},
    OptionName{SOL_SOCKET, SO_ATTACH_FILTER, "SO_ATTACH_FILTER"},
    OptionName{SOL_SOCKET, SO_LOCK_FILTER, "SO_LOCK_FILTER"},
};

bool fits(const OptionName& option, const SocketKind& kind) {
  const bool inet = kind.domain == AF_INET || kind.domain == AF_INET6;
  switch (option.level) {
    case SOL_SOCKET: return true;
    case IPPROTO_IP: return inet;
    case IPPROTO_IPV6: return kind.domain == AF_INET6;
    case SOL_PACKET: return kind.domain == AF_PACKET;
    case SOL_NETLINK: return kind.domain == AF_NETLINK;
    case SOL_RAW: return kind.domain == AF_INET && kind.type == SOCK_RAW;
    case IPPROTO_TCP:
      return inet && (kind.protocol == IPPROTO_TCP || kind.protocol == IPPROTO_MPTCP);
    default: return inet && kind.protocol == option.level;
  }
}

std::optional<std::string> option_of(int fd, int level, int name) {
  std::string value(256, '\0');
  auto length = static_cast<socklen_t>(value.size());
  if (::getsockopt(fd, level, name, value.data(), &length) != 0) return std::nullopt;
  value.resize(length);
  return value;
}

// Its length and its size are in instructions.
std::string filter_of(int own, std::vector<std::string>& missing) {
  socklen_t length = 0;
  if (::getsockopt(own, SOL_SOCKET, SO_GET_FILTER, nullptr, &length) != 0) {
    if (errno == EACCES)
      missing.emplace_back("its filter, a BPF program that cannot be read, is gone");
    return "";
  }
  std::string instructions(length * sizeof(sock_filter), '\0');
  if (length != 0 &&
      ::getsockopt(own, SOL_SOCKET, SO_GET_FILTER, instructions.data(), &length) != 0)
    return "";
  return instructions;
}

struct Group {
  std::uint32_t interface = 0;
  sockaddr_storage address{};
};

// The groups that anybody on this machine is a member of: which of them a socket is, it tells only
// when it is asked for each.
std::vector<Group> groups_of(const proc::ProcessDir& process, int domain) {
  std::vector<Group> groups;
  const bool six = domain == AF_INET6;
  const auto text = try_read_file(process.path(six ? "net/igmp6" : "net/igmp"));
  std::uint32_t interface = 0;
  for (std::string_view rest = text ? std::string_view(*text) : ""; !rest.empty();) {
    std::string_view line = proc::cut(rest, '\n');
    const bool names_interface = six || !line.starts_with('\t');
    if (names_interface)
      interface = proc::parse_number<std::uint32_t>(proc::next_word(line)).value_or(0);
    if (six) proc::next_word(line);  // its name
    if (interface == 0 || (!six && names_interface)) continue;
    const auto digits = proc::next_word(line);
    Group group{interface, {}};
    if (six) {
      sockaddr_in6 address{};
      address.sin6_family = AF_INET6;
      for (std::size_t i = 0; i < sizeof(in6_addr) && 2 * i + 2 <= digits.size(); ++i)
        address.sin6_addr.s6_addr[i] =
            proc::parse_number<std::uint8_t>(digits.substr(2 * i, 2), 16).value_or(0);
      std::memcpy(&group.address, &address, sizeof address);
    } else {
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = proc::parse_number<std::uint32_t>(digits, 16).value_or(0);
      std::memcpy(&group.address, &address, sizeof address);
    }
    groups.push_back(group);
  }
  return groups;
}

void add_memberships(const proc::ProcessDir& process, int own, int level,
                     std::vector<SocketOption>& options) {
  for (const Group& group : groups_of(process, level == IPPROTO_IPV6 ? AF_INET6 : AF_INET)) {
    constexpr std::size_t kMostSources = 128;
    std::string value(GROUP_FILTER_SIZE(kMostSources), '\0');
    group_filter filter{};
    filter.gf_interface = group.interface;
    filter.gf_group = group.address;
    filter.gf_numsrc = kMostSources;
    std::memcpy(value.data(), &filter, offsetof(group_filter, gf_slist));
    auto length = static_cast<socklen_t>(value.size());
    if (::getsockopt(own, level, MCAST_MSFILTER, value.data(), &length) != 0) continue;
    std::memcpy(&filter, value.data(), offsetof(group_filter, gf_slist));
    value.resize(GROUP_FILTER_SIZE(std::min<std::size_t>(filter.gf_numsrc, kMostSources)));
    options.push_back({level, MCAST_MSFILTER, value});
  }
}

// The kernel tells them as bits, in words of four bytes.
void add_netlink_memberships(int own, std::vector<SocketOption>& options) {
  constexpr unsigned kBits = 8;
  const auto bits = option_of(own, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS);
  if (!bits) return;
  for (std::uint32_t group = 1; group <= bits->size() * kBits; ++group) {
    const auto byte = static_cast<unsigned char>((*bits)[(group - 1) / kBits]);
    if ((byte >> ((group - 1) % kBits) & 1U) == 0) continue;
    options.push_back({SOL_NETLINK,
                       NETLINK_ADD_MEMBERSHIP,
                       {reinterpret_cast<const char*>(&group), sizeof group}});
  }
}

bool is_socket_option(const SocketOption& option, int name) {
  return option.level == SOL_SOCKET && option.name == name;
}

bool is_late(const SocketOption& option, bool is_connected) {
  constexpr std::array kLate = {SO_PEEK_OFF, SO_RCVLOWAT,      SO_LINGER,
                                SO_RCVTIMEO, SO_SNDTIMEO,      SO_SNDBUF,
                                kBufferLock, SO_ATTACH_FILTER, SO_LOCK_FILTER};
  if (option.level == SOL_SOCKET)
    return std::find(kLate.begin(), kLate.end(), option.name) != kLate.end();
  if (option.level == IPPROTO_TCP && option.name == TCP_WINDOW_CLAMP) return is_connected;
  return (option.level == IPPROTO_TCP && option.name == TCP_CORK) ||
         (option.level == SOL_PACKET && option.name == PACKET_FANOUT) ||
         (option.level == IPPROTO_UDP && option.name == UDP_CORK);
}

std::string name_of(const SocketOption& option) {
  const auto known = std::find_if(kOptions.begin(), kOptions.end(), [&](const OptionName& one) {
    return one.level == option.level && one.name == option.name;
  });
  return known != kOptions.end() ? std::string(known->text)
                                 : fmt::format("{} of level {}", option.name, option.level);
}

// Doubled by the kernel when it is set. The first way needs a privilege and knows no limit.
std::int64_t set_buffer_size(RestoreContext& inferior, int fd, const SocketOption& option) {
  int size = 0;
  std::memcpy(&size, option.value.data(), std::min(sizeof size, option.value.size()));
  const auto at = inferior.put_value(size / 2);
  const int force = option.name == SO_SNDBUF ? SO_SNDBUFFORCE : SO_RCVBUFFORCE;
  std::int64_t result = 0;
  for (const int name : {force, option.name}) {
    result = inferior.attempt(SYS_setsockopt, {fd, SOL_SOCKET, name, at, sizeof size});
    if (result == 0) break;
  }
  return result;
}

std::int64_t attach_filter(RestoreContext& inferior, int fd, const std::string& instructions) {
  const auto code = inferior.put(std::string_view(instructions));
  sock_fprog program{};
  program.len = static_cast<unsigned short>(instructions.size() / sizeof(sock_filter));
  // NOLINTNEXTLINE(performance-no-int-to-ptr): an address of the other process
  program.filter = reinterpret_cast<sock_filter*>(code.at().value);
  const auto at = inferior.put_value(program);
  return inferior.attempt(SYS_setsockopt, {fd, SOL_SOCKET, SO_ATTACH_FILTER, at, sizeof program});
}

std::int64_t join_group(RestoreContext& inferior, int fd, const SocketOption& option) {
  group_filter filter{};
  if (option.value.size() < offsetof(group_filter, gf_slist)) return -EINVAL;
  std::memcpy(&filter, option.value.data(), offsetof(group_filter, gf_slist));
  group_req wanted{};
  wanted.gr_interface = filter.gf_interface;
  wanted.gr_group = filter.gf_group;
  const auto at = inferior.put_value(wanted);
  const std::int64_t joined =
      inferior.attempt(SYS_setsockopt, {fd, option.level, MCAST_JOIN_GROUP, at, sizeof wanted});
  const bool is_as_joined = filter.gf_fmode == MCAST_EXCLUDE && filter.gf_numsrc == 0;
  if (joined != 0 || is_as_joined) return joined;
  const auto sources = inferior.put(std::string_view(option.value));
  return inferior.attempt(SYS_setsockopt,
                          {fd, option.level, MCAST_MSFILTER, sources, option.value.size()});
}

// An accepted connection has some options from the packets that made it, and some from its
// listening socket: they have an effect no more, and cannot be set.
bool matters(const SocketOption& option, bool is_stream, bool is_connected) {
  const auto is = [&](int level, std::initializer_list<int> names) {
    return option.level == level &&
           std::find(names.begin(), names.end(), option.name) != names.end();
  };
  if (is_stream &&
      (is(IPPROTO_IP, {IP_MULTICAST_IF, IP_MULTICAST_TTL, IP_MULTICAST_LOOP}) ||
       is(IPPROTO_IPV6, {IPV6_MULTICAST_IF, IPV6_MULTICAST_HOPS, IPV6_MULTICAST_LOOP})))
    return false;
  return !is_connected ||
         !(is(SOL_SOCKET, {SO_REUSEADDR, SO_REUSEPORT}) || is(IPPROTO_IPV6, {IPV6_V6ONLY}) ||
           is(IPPROTO_TCP, {TCP_MAXSEG, TCP_WINDOW_CLAMP}));
}

std::int64_t set_option(RestoreContext& inferior, int fd, const SocketOption& option) {
  if (is_socket_option(option, SO_SNDBUF) || is_socket_option(option, SO_RCVBUF))
    return set_buffer_size(inferior, fd, option);
  if (is_socket_option(option, SO_ATTACH_FILTER)) return attach_filter(inferior, fd, option.value);
  if (option.name == MCAST_MSFILTER && option.level != SOL_SOCKET)
    return join_group(inferior, fd, option);
  const auto at = inferior.put(std::string_view(option.value));
  return inferior.attempt(SYS_setsockopt, {fd, option.level, option.name, at, option.value.size()});
}

}  // namespace

const std::optional<std::string>& NewSockets::value(const SocketKind& kind, int level, int name) {
  const auto [known, is_new] = known_.try_emplace(kind);
  Known& one = known->second;
  if (is_new) one.socket.reset(::socket(kind.domain, kind.type | SOCK_CLOEXEC, kind.protocol));
  const auto [value, unknown] = one.values.try_emplace({level, name});
  if (unknown && one.socket) value->second = option_of(one.socket.get(), level, name);
  return value->second;
}

namespace {

// To set a size locks it, as the kernel's own choice is not.
bool has_size(const std::vector<SocketOption>& options) {
  return std::any_of(options.begin(), options.end(), [](const SocketOption& option) {
    return is_socket_option(option, SO_SNDBUF) || is_socket_option(option, SO_RCVBUF);
  });
}

// MPTCP tells which sizes are the program's choice, but does not let that be set.
bool is_own_size(int own, const OptionName& option) {
  if (option.level != SOL_SOCKET) return false;
  if (option.name == kBufferLock) return true;
  const auto lock = option_of(own, SOL_SOCKET, kBufferLock);
  const int locked = lock && !lock->empty() ? static_cast<unsigned char>(lock->front()) : ~0;
  constexpr int kSending = 1;  // SOCK_SNDBUF_LOCK
  constexpr int kReceiving = 2;
  return (option.name == SO_SNDBUF && (locked & kSending) == 0) ||
         (option.name == SO_RCVBUF && (locked & kReceiving) == 0);
}

}  // namespace

std::vector<SocketOption> changed_options(const proc::ProcessDir& process, int own,
                                          const SocketKind& kind, NewSockets& fresh,
                                          std::vector<std::string>& missing) {
  std::vector<SocketOption> options;
  sockaddr_storage peer{};
  socklen_t length = sizeof peer;
  const bool is_connected = ::getpeername(own, reinterpret_cast<sockaddr*>(&peer), &length) == 0;
  for (const OptionName& option : kOptions) {
    if (!fits(option, kind)) continue;
    if (option.name == MCAST_MSFILTER && option.level != SOL_SOCKET) {
      if (kind.type != SOCK_STREAM) add_memberships(process, own, option.level, options);
      continue;
    }
    if (option.level == SOL_NETLINK && option.name == NETLINK_ADD_MEMBERSHIP) {
      add_netlink_memberships(own, options);
      continue;
    }
    if (option.level == SOL_SOCKET && option.name == SO_ATTACH_FILTER) {
      auto filter = filter_of(own, missing);
      if (!filter.empty()) options.push_back({option.level, option.name, std::move(filter)});
      continue;
    }
    // Of a connection the kernel tells what it has made of this itself.
    if (option.level == IPPROTO_TCP && option.name == TCP_MAXSEG && is_connected) continue;
    if (kind.protocol == IPPROTO_MPTCP && is_own_size(own, option)) continue;
    const auto now = option_of(own, option.level, option.name);
    if (!now) continue;
    if (fresh.value(kind, option.level, option.name) == now &&
        !(option.name == kBufferLock && option.level == SOL_SOCKET && has_size(options)))
      continue;
    options.push_back({option.level, option.name, *now});
  }
  return options;
}

std::vector<std::string> set_options(RestoreContext& inferior, int fd,
                                     const std::vector<SocketOption>& options, bool late,
                                     bool is_stream, bool is_connected) {
  std::vector<std::string> refused;
  for (const SocketOption& option : options) {
    if (is_late(option, is_connected) != late) continue;
    const std::int64_t result = set_option(inferior, fd, option);
    if (result < 0 && matters(option, is_stream, is_connected))
      refused.push_back(fmt::format("{} cannot be set here: {}", name_of(option),
                                    describe_errno(static_cast<int>(-result))));
  }
  return refused;
}

}  // namespace ckpt::state
