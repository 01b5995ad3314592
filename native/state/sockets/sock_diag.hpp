// What sock_diag(7) tells of sockets, and what it can end.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace ckpt::state {

/// A local (AF_UNIX) socket.
struct LocalSocketInfo {
  std::uint32_t peer = 0;  // inode of the other end; 0 for none
  std::uint32_t backlog = 0;
  std::uint8_t shutdown = 0;           // 1: receiving, 2: sending
  std::uint8_t state = 0;              // TCP_*
  std::uint32_t file_inode = 0;        // of one that is bound to a path: the file; its lower half
  std::uint32_t file_device = 0;       // as the kernel has it; the minor number has 20 bits
  std::vector<std::uint32_t> waiting;  // of a listening one: inodes of those not accepted yet
};

/// Those in our own network namespace, while nothing about the ones asked for changes. The kernel
/// looks through all there are to find one, so that many are asked for together.
class LocalSockets {
 public:
  /// Nothing where the kernel was built without it (CONFIG_UNIX_DIAG).
  std::optional<LocalSocketInfo> find(std::uint64_t inode);

 private:
  int asked_ = 0;
  std::unordered_map<std::uint32_t, LocalSocketInfo> known_;
};

/// All there are in our own network namespace; none where the kernel was built without it.
std::vector<LocalSocketInfo> all_local_sockets();

/// A socket of IPv4 or IPv6.
struct InetSocketInfo {
  std::uint8_t state = 0;     // TCP_*
  std::uint8_t shutdown = 0;  // as LocalSocketInfo::shutdown
};

/// Those of our own network namespace that have a port, as they are when the first one of their
/// protocol is asked for.
class InetSockets {
 public:
  /// Nothing for one that the kernel does not tell of. `protocol`: IPPROTO_UDP and the like.
  std::optional<InetSocketInfo> find(int protocol, std::uint64_t inode);

 private:
  std::map<int, std::unordered_map<std::uint32_t, InetSocketInfo>> known_;
};

/// A packet socket of our own network namespace.
struct PacketSocketInfo {
  struct Membership {
    int interface = 0;  // its index
    std::uint16_t type = 0;
    std::string address;
  };
  std::uint16_t protocol = 0;        // in the machine's order
  std::uint32_t copy_threshold = 0;  // PACKET_COPY_THRESH
  bool has_ring = false;
  std::vector<Membership> memberships;
};

/// Nothing where the kernel was built without it (CONFIG_PACKET_DIAG).
std::optional<PacketSocketInfo> find_packet_socket(std::uint64_t inode);

/// Ends what the kernel still remembers of connections that have been closed (TIME_WAIT) from this
/// local address, so that the port is free at once. Needs CAP_NET_ADMIN; nothing happens without.
/// `address`: struct sockaddr_in or _in6.
void forget_closed_connections(const std::string& address);

}  // namespace ckpt::state
