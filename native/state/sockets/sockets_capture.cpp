// Capture of sockets; see sockets.hpp.
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <set>

#include "base/error.hpp"
#include "state/sockets/packet_sockets.hpp"
#include "state/sockets/sock_diag.hpp"
#include "state/sockets/socket_files.hpp"
#include "state/sockets/sockets.hpp"

namespace ckpt::state {

namespace {

std::string address_of(int own, int (*ask)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (ask(own, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return "";
  if (length <= sizeof(sa_family_t)) return "";
  return {reinterpret_cast<const char*>(&storage), std::min<std::size_t>(length, sizeof storage)};
}

// Also one that is closed, of which sock_diag(7) knows nothing any more.
bool has_peer(int own) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  return ::getpeername(own, reinterpret_cast<sockaddr*>(&storage), &length) == 0;
}

bool in_our_network(const CaptureContext& context) {
  struct stat ours {};
  struct stat theirs {};
  return ::stat("/proc/self/ns/net", &ours) != 0 ||
         ::stat(context.process.path("ns/net").c_str(), &theirs) != 0 ||
         (ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev);
}

// That needs a leave (IP_FREEBIND, IP_TRANSPARENT), which may have been taken back since.
bool is_free_name(const Socket& socket) {
  if (socket.domain != AF_INET && socket.domain != AF_INET6) return false;
  if (socket.name.size() < sizeof(sockaddr_in)) return false;
  sockaddr_storage address{};
  std::memcpy(&address, socket.name.data(), std::min(socket.name.size(), sizeof address));
  // sin6_port is at the same place.
  reinterpret_cast<sockaddr_in&>(address).sin_port = 0;
  const UniqueFd probe(::socket(socket.domain, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return probe &&
         ::bind(probe.get(), reinterpret_cast<const sockaddr*>(&address),
                static_cast<socklen_t>(socket.name.size())) != 0 &&
         errno == EADDRNOTAVAIL;
}

void read_unix(const CaptureContext& context, Socket& socket, const LocalSocketInfo& diag,
               int own) {
  socket.no_receiving = (diag.shutdown & 1U) != 0;
  socket.no_sending = (diag.shutdown & 2U) != 0;
  if (int_option(own, SO_ACCEPTCONN) == 1) {
    socket.role = SocketRole::listening;
    socket.backlog = static_cast<int>(diag.backlog);
  } else if (socket.type != SOCK_DGRAM) {
    const bool was_connected = !socket.peer_name.empty() || diag.state == TCP_ESTABLISHED;
    socket.role = was_connected ? SocketRole::connected : SocketRole::plain;
  } else if (has_peer(own)) {
    socket.role = SocketRole::connected;
  }
  socket.peer = diag.peer;
  const std::string path = address_text(socket.name);
  if (path.empty() || path.starts_with('@')) return;
  const SocketFile file = find_socket_file(context.process, own, path, diag);
  socket.place = file.path;
  socket.no_file = file.is_none;
  socket.file_lost = file.is_lost;
  socket.file_names = file.names;
  if (file.is_none) return;
  socket.path_mode = file.mode;
  socket.path_owner = file.owner;
  socket.path_group = file.group;
}

// A number of struct tcp_info in <linux/tcp.h>, since Linux 4.6; glibc's has none of these. 0 where
// there is none.
enum class TcpCount : std::size_t { segments_sent = 136, segments_received = 140, data_sent = 156 };
std::uint32_t tcp_count(int own, TcpCount which) {
  std::array<std::byte, 256> info{};
  socklen_t length = info.size();
  std::uint32_t count = 0;
  const auto at = static_cast<std::size_t>(which);
  if (::getsockopt(own, IPPROTO_TCP, TCP_INFO, info.data(), &length) == 0 &&
      length >= at + sizeof count)
    std::memcpy(&count, info.data() + at, sizeof count);
  return count;
}

tcp_info tcp_info_of(int own) {
  tcp_info info{};
  socklen_t length = sizeof info;
  ::getsockopt(own, IPPROTO_TCP, TCP_INFO, &info, &length);
  return info;
}

// Because the far end has closed, or the program has shut it down.
bool receives_no_more(int own) {
  pollfd state{own, POLLRDHUP, 0};
  return ::poll(&state, 1, 0) == 1 && (state.revents & POLLRDHUP) != 0;
}

// A closed one is new, or its connection is over. By which error, only the program may ask:
// what has never heard of its peer was refused.
void read_closed_tcp(Socket& socket, int own, const tcp_info& info) {
  if (tcp_count(own, TcpCount::segments_sent) == 0 &&
      tcp_count(own, TcpCount::segments_received) == 0) {
    socket.no_receiving = receives_no_more(own);  // shutdown(2) fails, and does it
    return;
  }
  socket.role = SocketRole::dead;
  socket.over = true;
  if (!has_unread_error(own)) return;
  socket.error = info.tcpi_rtt == 0 ? ECONNREFUSED : ECONNRESET;
  socket.missing.push_back(
      fmt::format("its connection has ended with an error that the program has not read yet, and "
                  "that no other process can read: it comes back as {}",
                  describe_errno(socket.error)));
}

// For MPTCP the numbers are those of its first connection, whose state is not the whole's.
int state_of(const Socket& socket, int own, const tcp_info& info, SocketAnswers& answers) {
  if (socket.protocol == IPPROTO_TCP || int_option(own, SO_ACCEPTCONN) == 1) return info.tcpi_state;
  const auto told = answers.inet.find(socket.protocol, socket.id);
  if (!told) return socket.peer_name.empty() ? TCP_CLOSE : TCP_ESTABLISHED;
  return told->state;
}

void read_tcp(Socket& socket, int own, SocketAnswers& answers) {
  const tcp_info info = tcp_info_of(own);
  switch (state_of(socket, own, info, answers)) {
    case TCP_LISTEN:
      socket.role = SocketRole::listening;
      socket.backlog = static_cast<int>(info.tcpi_sacked);  // for listening sockets
      socket.waiting_count = info.tcpi_unacked;             // so is this
      break;
    case TCP_CLOSE: read_closed_tcp(socket, own, info); break;
    case TCP_CLOSE_WAIT:
      socket.role = SocketRole::connected;
      socket.ended = true;
      break;
    case TCP_FIN_WAIT1:
    case TCP_FIN_WAIT2:
      socket.role = SocketRole::connected;
      socket.no_sending = true;
      socket.no_receiving = receives_no_more(own);
      break;
    case TCP_CLOSING:
    case TCP_LAST_ACK:
      socket.role = SocketRole::connected;
      socket.no_sending = true;
      socket.ended = true;
      break;
    default:
      socket.role = SocketRole::connected;
      socket.no_receiving = receives_no_more(own);
      break;
  }
}

// The end of the send queue that TCP has not sent, which only TCP_REPAIR shows.
void read_unsent(Socket& socket, int own) {
  constexpr int kSendQueue = 2;  // TCP_SEND_QUEUE, <linux/tcp.h>
  constexpr int kOff = -1;       // without a probe to the far end
  int unsent = 0;
  int queued = 0;
  if (::ioctl(own, SIOCOUTQNSD, &unsent) != 0) return;
  if (socket.no_sending) --unsent;  // the end of what is sent counts as a byte
  if (unsent <= 0) return;
  socket.unsent_bytes = static_cast<std::size_t>(unsent);
  ::ioctl(own, SIOCOUTQ, &queued);
  const int on = 1;
  const int reused = int_option(own, SO_REUSEADDR);  // TCP_REPAIR sets and clears it
  if (::setsockopt(own, IPPROTO_TCP, TCP_REPAIR, &on, sizeof on) != 0) return;
  std::string bytes(static_cast<std::size_t>(std::max(queued, unsent)), '\0');
  ssize_t got = -1;
  if (::setsockopt(own, IPPROTO_TCP, TCP_REPAIR_QUEUE, &kSendQueue, sizeof kSendQueue) == 0)
    got = ::recv(own, bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT);
  if (::setsockopt(own, IPPROTO_TCP, TCP_REPAIR, &kOff, sizeof kOff) != 0) {
    const int off = 0;
    ::setsockopt(own, IPPROTO_TCP, TCP_REPAIR, &off, sizeof off);
  }
  ::setsockopt(own, SOL_SOCKET, SO_REUSEADDR, &reused, sizeof reused);
  if (got >= unsent)
    socket.unsent = bytes.substr(static_cast<std::size_t>(got - unsent), socket.unsent_bytes);
}

// "tls"; empty for none.
std::string upper_layer_of(int own) {
  constexpr int kUpperLayer = 31;  // TCP_ULP, <linux/tcp.h>
  std::array<char, 16> name{};
  socklen_t length = name.size() - 1;
  return ::getsockopt(own, IPPROTO_TCP, kUpperLayer, name.data(), &length) == 0 ? name.data() : "";
}

bool is_stream(const Socket& socket) { return socket.type == SOCK_STREAM; }

void read_udp(Socket& socket, int own, SocketAnswers& answers) {
  pollfd state{own, POLLRDHUP, 0};
  if (::poll(&state, 1, 0) == 1) {
    socket.no_receiving = (state.revents & POLLRDHUP) != 0;
    socket.no_sending = (state.revents & POLLHUP) != 0;
  }
  // One that may not send alone shows nowhere else.
  if (!socket.no_sending && !socket.name.empty()) {
    const auto told = answers.inet.find(socket.protocol, socket.id);
    socket.no_sending = told && (told->shutdown & 2U) != 0;
  }
  int unsent = 0;
  if (::ioctl(own, SIOCOUTQ, &unsent) == 0 && unsent > 0)
    socket.missing.emplace_back(
        "the datagram that it was putting together (MSG_MORE, UDP_CORK) is gone");
}

bool comes_back(const Socket& socket) {
  if (socket.domain == AF_UNIX || socket.domain == AF_NETLINK) return true;
  return is_udp(socket) || sees_packets(socket) || (is_tcp(socket) && socket.type == SOCK_STREAM);
}

void read_unread_error(Socket& socket, int own) {
  if (socket.error != 0 || !has_unread_error(own)) return;
  if (socket.domain == AF_UNIX && socket.type != SOCK_DGRAM) {
    socket.over = true;
    socket.error = ECONNRESET;  // there is no other: its peer has left what it had sent unread
    return;
  }
  socket.missing.emplace_back(
      "an error, or what is in its queue of errors (MSG_ERRQUEUE), has not been read yet: it does "
      "not come back");
}

}  // namespace

std::optional<Socket> read_socket(CaptureContext& context, int own, std::uint64_t inode,
                                  const DescribePassed& describe_passed, SocketAnswers& answers,
                                  std::string& why_not) {
  Socket socket;
  socket.id = inode;
  socket.domain = int_option(own, SO_DOMAIN);
  socket.type = int_option(own, SO_TYPE);
  socket.protocol = int_option(own, SO_PROTOCOL);
  if (!comes_back(socket)) {
    why_not = kind_for_people(socket.domain, socket.type, socket.protocol);
    return std::nullopt;
  }
  if (!in_our_network(context)) {
    why_not = "a socket in another network namespace";
    return std::nullopt;
  }
  socket.name = address_of(own, &::getsockname);
  socket.peer_name = address_of(own, &::getpeername);
  socket.free_name = is_free_name(socket);
  if (socket.domain == AF_UNIX) {
    const auto diag = answers.local.find(inode);
    if (!diag) {
      why_not = "a socket that the kernel tells nothing of (CONFIG_UNIX_DIAG)";
      return std::nullopt;
    }
    read_unix(context, socket, *diag, own);
    int unread = 0;
    socket.has_sent = ::ioctl(own, SIOCOUTQ, &unread) == 0 && unread != 0;
    socket.clients.assign(diag->waiting.begin(), diag->waiting.end());
  } else if (is_tcp(socket)) {
    read_tcp(socket, own, answers);
    if (socket.role == SocketRole::connected) read_unsent(socket, own);
    if (socket.protocol == IPPROTO_TCP) socket.upper_layer = upper_layer_of(own);
    socket.has_sent = socket.unsent_bytes != 0 || tcp_count(own, TcpCount::data_sent) != 0;
  }
  socket.options =
      changed_options(context.process, own, {socket.domain, socket.type, socket.protocol},
                      answers.fresh, socket.missing);
  if (is_udp(socket)) read_udp(socket, own, answers);
  if (sees_packets(socket)) read_packet_socket(context.process, socket);
  read_unread_error(socket, own);
  // Asked for again, the kernel would answer again: what waits cannot be put back.
  char any = 0;
  const bool has_own_queue = socket.domain != AF_NETLINK && !sees_packets(socket);
  if (!has_own_queue && !has_unread_error(own) &&
      ::recv(own, &any, 1, MSG_PEEK | MSG_DONTWAIT) >= 0)
    socket.waiting_count = 1;
  if (socket.role != SocketRole::listening && has_own_queue) {
    const QueueKind kind = !is_stream(socket) ? QueueKind::messages
                           : is_tcp(socket)   ? QueueKind::tcp
                                              : QueueKind::stream;
    SocketQueue queue = look_at_queue(own, kind, describe_passed);
    socket.queue = std::move(queue.messages);
    socket.hidden = queue.hidden;
    socket.urgent_lost = queue.urgent_lost;
  }
  return socket;
}

}  // namespace ckpt::state
