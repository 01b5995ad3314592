// What setsockopt(2) has changed in a socket: plain values, socket filters, multicast memberships.
#pragma once

#include <compare>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"
#include "proc/process_dir.hpp"

namespace ckpt::state {

struct SocketOption {
  int level = 0;
  int name = 0;
  /// As getsockopt(2) gives it. For SO_ATTACH_FILTER the instructions (struct sock_filter), for
  /// MCAST_MSFILTER one for each membership (struct group_filter).
  std::string value;
};

/// The most that an option in a snapshot may have, in bytes.
inline constexpr std::size_t kLongestOption = 64U << 10U;

/// SO_BUF_LOCK, <asm-generic/socket.h>; not in every distribution's headers.
inline constexpr int kBufferLock = 72;

struct SocketKind {
  int domain = 0;
  int type = 0;
  int protocol = 0;
  auto operator<=>(const SocketKind&) const = default;
};

/// What new sockets have, by their kinds; each is asked once.
class NewSockets {
 public:
  /// An option's value; nothing where there is no such socket or option.
  const std::optional<std::string>& value(const SocketKind& kind, int level, int name);

 private:
  struct Known {
    UniqueFd socket;
    std::map<std::pair<int, int>, std::optional<std::string>> values;
  };
  std::map<SocketKind, Known> known_;
};

/// Those that differ from what a new socket of this kind has, in the order in which they are to be
/// set. `own`: our duplicate of the descriptor. `missing`: gets in words what cannot be read.
std::vector<SocketOption> changed_options(const proc::ProcessDir& process, int own,
                                          const SocketKind& kind, NewSockets& fresh,
                                          std::vector<std::string>& missing);

/// Sets them in the process. `late`: those that change what sending and receiving do, or all
/// others. Returns in words which the kernel has refused, and why, but not those that mean nothing
/// to a stream (`is_stream`) or to an end of a connection (`is_connected`).
std::vector<std::string> set_options(RestoreContext& inferior, int fd,
                                     const std::vector<SocketOption>& options, bool late,
                                     bool is_stream, bool is_connected);

}  // namespace ckpt::state
