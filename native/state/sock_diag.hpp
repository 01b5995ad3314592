// What sock_diag(7) tells of sockets, and what it can end.
#pragma once

#include <cstdint>
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

/// UDP sockets of our own network namespace that have a port, as they are when the first is asked
/// for.
class UdpSockets {
 public:
  /// As LocalSocketInfo::shutdown; 0 for one that the kernel does not tell of.
  std::uint8_t shutdown(std::uint64_t inode);

 private:
  std::optional<std::unordered_map<std::uint32_t, std::uint8_t>> known_;
};

/// Ends what the kernel still remembers of connections that have been closed (TIME_WAIT) from this
/// local address, so that the port is free at once. Needs CAP_NET_ADMIN; nothing happens without.
/// `address`: struct sockaddr_in or _in6.
void forget_closed_connections(const std::string& address);

}  // namespace ckpt::state
