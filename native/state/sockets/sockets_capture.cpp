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
  } else if (diag.peer != 0) {
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
                  "that nobody else can: it comes back as {}",
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

// How messages of the report name the far end.
std::string far_end(const Socket& socket) {
  const std::string text = address_text(socket.peer_name);
  return text.empty() ? "a socket of another process" : text;
}

std::size_t bytes_in(const std::vector<SocketMessage>& queue) {
  std::size_t bytes = 0;
  for (const auto& message : queue) bytes += message.bytes.size();
  return bytes;
}

}  // namespace

namespace {

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

bool is_udp(const Socket& socket) {
  return (socket.domain == AF_INET || socket.domain == AF_INET6) && socket.type == SOCK_DGRAM &&
         (socket.protocol == IPPROTO_UDP || socket.protocol == IPPROTO_UDPLITE);
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

namespace {

// All sockets together: who is connected with whom.
class Settler {
 public:
  Settler(CaptureContext& context, const std::vector<NamedSocket>& sockets)
      : context_(context), sockets_(sockets) {
    for (const auto& named : sockets) {
      by_id_[named.socket->id] = named.socket;
      for (const std::uint64_t client : named.socket->clients)
        listening_of_[client] = named.socket->id;
      if (named.socket->domain != AF_UNIX) note_ends(*named.socket);
      senders_.add(*named.socket);
    }
  }

  void run() {
    for (const auto& named : sockets_)
      if (named.socket->role == SocketRole::connected) settle(named);
    for (const auto& named : sockets_)
      if (broken_.contains(named.socket->id)) break_off(named);
    // Sockets of the program are found only through both their ends.
    for (const auto& named : sockets_) {
      Socket& socket = *named.socket;
      if (socket.role != SocketRole::connected) continue;
      const auto other = by_id_.find(socket.peer);
      if (other == by_id_.end() || other->second->role != SocketRole::connected) cut(named);
    }
    for (const auto& named : sockets_) {
      if (named.socket->type == SOCK_DGRAM && named.socket->domain == AF_UNIX)
        name_lost_senders(named);
      else if (is_udp(*named.socket))
        drop_messages_from_outside(named);
      report(named);
    }
  }

 private:
  void note_ends(Socket& socket) {
    if (socket.role == SocketRole::connected)
      by_ends_.emplace(ends(socket, socket.name, socket.peer_name), &socket);
    if (socket.role == SocketRole::listening) listening_.push_back(&socket);
  }

  void settle(const NamedSocket& named) {
    Socket& socket = *named.socket;
    if (socket.domain == AF_UNIX) {
      const auto waits = listening_of_.find(socket.id);
      if (waits != listening_of_.end()) return settle_waiting(named, waits->second);
      if (socket.type == SOCK_DGRAM) return settle_local_datagrams(named);
      if (!by_id_.contains(socket.peer)) cut(named);
      return;
    }
    const auto other = by_ends_.find(ends(socket, socket.peer_name, socket.name));
    if (other != by_ends_.end() && other->second->role == SocketRole::connected) {
      socket.peer = other->second->id;
      socket.ended = false;
      return carry_over(named, *other->second);
    }
    for (const Socket* listening : listening_)
      // What has been closed by the far end has been accepted.
      if (!socket.ended && listening->waiting_count != 0 &&
          listens_at(*listening, socket.peer_name))
        return settle_waiting(named, listening->id);
    cut(named);
  }

  // What TCP has not delivered yet is delivered by the snapshot, if its bytes could be had.
  void carry_over(const NamedSocket& named, Socket& peer) {
    Socket& socket = *named.socket;
    if (socket.unsent_bytes == 0) return;
    if (!socket.unsent.empty()) {
      peer.queue.push_back({socket.unsent, "", {}});
      return;
    }
    context_.report.add(
        Severity::lost, named.object, family_name(socket),
        fmt::format("{} bytes on their way to {} inside the program can{}: the connection comes "
                    "back as if it had been reset",
                    socket.unsent_bytes, far_end(socket),
                    socket.protocol == IPPROTO_TCP ? " only be read by root" : "not be read"));
    broken_.insert(socket.id);
    broken_.insert(peer.id);
  }

  // A datagram socket may send to one that does not send back.
  void settle_local_datagrams(const NamedSocket& named) {
    Socket& socket = *named.socket;
    const auto peer = by_id_.find(socket.peer);
    if (peer == by_id_.end()) return cut(named);
    // One that is connected with itself is so by its name.
    if (peer->second->peer != socket.id || socket.peer == socket.id)
      socket.role = SocketRole::plain;
  }

  // Of the socket that has these addresses.
  static std::string ends(const Socket& of, const std::string& name, const std::string& peer) {
    return fmt::format("{} {} {}", of.protocol, address_text(name), address_text(peer));
  }

  // What it has sent lies in a socket to which nothing leads before it is accepted.
  void settle_waiting(const NamedSocket& named, std::uint64_t listening) {
    Socket& socket = *named.socket;
    if (!socket.has_sent) {
      socket.role = SocketRole::waiting;
      socket.peer = listening;
      return;
    }
    ++dropped_[listening];
    context_.report.add(
        Severity::lost, named.object, family_name(socket),
        fmt::format("what it has sent to {}, which has not accepted the connection yet, cannot be "
                    "read: the connection comes back as if it had been reset",
                    far_end(socket)));
    break_off(named);
    told_.insert(socket.id);
  }

  static void cut(const NamedSocket& named) {
    Socket& socket = *named.socket;
    socket.role = socket.type == SOCK_DGRAM && !socket.peer_name.empty() ? SocketRole::plain
                                                                         : SocketRole::dead;
    // A local socket whose other end was closed before has no peer, one cut off by us has, or it
    // waits to be accepted by another process.
    if (socket.domain == AF_UNIX && socket.peer == 0)
      socket.ended = socket.type == SOCK_DGRAM || (socket.no_receiving && socket.no_sending);
    socket.peer = 0;
  }

  // A name that is free is given to a socket of the moment, which sends again.
  void name_lost_senders(const NamedSocket& named) {
    std::set<std::string> looked_at;
    for (const SocketMessage& message : named.socket->queue) {
      const std::string name = address_text(message.from);
      if (name.empty() || !looked_at.insert(name).second ||
          comes_from_inside(*named.socket, message.from) || !name_is_taken(name))
        continue;
      context_.report.add(
          Severity::changed, named.object, "local socket",
          fmt::format("what waits in it from {} comes back without a sender's name, "
                      "unless that name is free by then",
                      name));
    }
  }

  [[nodiscard]] bool name_is_taken(const std::string& name) const {
    if (name.starts_with('@')) return is_local_name_in_use(name);
    const std::string place = context_.process.path(name.starts_with('/') ? "root" : "cwd/");
    struct stat status {};
    return ::lstat((place + name).c_str(), &status) == 0;
  }

  [[nodiscard]] bool comes_from_inside(const Socket& receiver, const std::string& from) const {
    return senders_.find(receiver, from) != nullptr;
  }

  // Only the machine's own addresses can be sent from, and of these only what is free: that of a
  // socket which is closed by now.
  bool can_send_from(const std::string& address) {
    const auto [known, is_new] = free_addresses_.try_emplace(address, false);
    if (!is_new || address.size() < sizeof(sockaddr_in)) return known->second;
    sockaddr_storage to{};
    std::memcpy(&to, address.data(), std::min(address.size(), sizeof to));
    const UniqueFd probe(::socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    known->second = probe && ::bind(probe.get(), reinterpret_cast<const sockaddr*>(&to),
                                    static_cast<socklen_t>(address.size())) == 0;
    return known->second;
  }

  // Its other end is in the program, which is not to wait for itself.
  static void break_off(const NamedSocket& named) {
    cut(named);
    named.socket->broken = true;
  }

  void drop_messages_from_outside(const NamedSocket& named) {
    Socket& socket = *named.socket;
    const auto count = socket.queue.size();
    std::erase_if(socket.queue, [&](const SocketMessage& message) {
      return !comes_from_inside(socket, message.from) && !can_send_from(message.from);
    });
    if (count != socket.queue.size())
      context_.report.add(
          Severity::lost, named.object, family_name(socket),
          fmt::format("{} datagrams from outside that were not read yet do not come "
                      "back",
                      count - socket.queue.size()));
  }

  void report(const NamedSocket& named) {
    const Socket& socket = *named.socket;
    if (named.is_stream) return;
    const auto kind = family_name(socket);
    for (const auto& missing : socket.missing)
      context_.report.add(Severity::changed, named.object, kind, missing);
    if (socket.role == SocketRole::connected && !socket.upper_layer.empty())
      context_.report.add(Severity::lost, named.object, kind,
                          fmt::format("its {} in the kernel (TCP_ULP) is gone: both ends come back "
                                      "without",
                                      socket.upper_layer));
    report_file(named);
    if (socket.urgent_lost)
      context_.report.add(Severity::lost, named.object, kind,
                          is_tcp(socket)
                              ? "an urgent byte (MSG_OOB) and what waits behind it do not "
                                "come back"
                              : "an urgent byte (MSG_OOB) does not come back");
    if (socket.hidden)
      context_.report.add(Severity::lost, named.object, kind,
                          "what waits in it behind an error that has not been read yet cannot be "
                          "looked at");
    // A local connection at its end comes back so, a TCP one with other addresses.
    if (socket.role == SocketRole::dead && !socket.over && !told_.contains(socket.id) &&
        !(socket.ended && socket.domain == AF_UNIX)) {
      const std::string what =
          socket.ended ? "has been closed by it; it comes back so, with other addresses"
                       : (socket.domain == AF_UNIX ? "comes back with its other end closed"
                                                   : "comes back as if its peer had reset it");
      context_.report.add(
          Severity::changed, named.object, kind,
          fmt::format("the connection with {} {}{}", far_end(socket), what,
                      socket.queue.empty()
                          ? ""
                          : fmt::format("; the {} bytes that wait in it can be read",
                                        bytes_in(socket.queue))));
    }
    if (socket.role == SocketRole::listening && has_strangers(socket))
      context_.report.add(Severity::changed, named.object, kind,
                          "connections that other processes have made and that the program has not "
                          "accepted yet do not come back");
    if (socket.domain == AF_NETLINK && socket.waiting_count != 0)
      context_.report.add(Severity::changed, named.object, kind,
                          "comes back without the answers that wait in it");
    if (sees_packets(socket) && socket.waiting_count != 0)
      context_.report.add(Severity::lost, named.object, kind,
                          "the packets that wait in it do not come back");
  }

  // The accepted ends of connections have the file of their listening socket.
  void report_file(const NamedSocket& named) {
    const Socket& socket = *named.socket;
    const bool is_reached = socket.role == SocketRole::listening || socket.type == SOCK_DGRAM;
    if (!is_reached || socket.domain != AF_UNIX) return;
    const std::string name = address_text(socket.name);
    if (socket.file_lost)
      context_.report.add(
          Severity::changed, named.object, "local socket",
          fmt::format("its file is not at {} any more, and cannot be found: it comes back without "
                      "one",
                      name));
    else if (socket.file_names > 1)
      context_.report.add(
          Severity::changed, named.object, "local socket",
          fmt::format("its file has {} names (hard links): it comes back at {} alone",
                      socket.file_names, socket.place.empty() ? name : socket.place));
  }

  [[nodiscard]] bool has_strangers(const Socket& listening) const {
    if (listening.domain == AF_UNIX)
      return std::any_of(listening.clients.begin(), listening.clients.end(),
                         [&](std::uint64_t client) { return !by_id_.contains(client); });
    const auto inner = std::count_if(sockets_.begin(), sockets_.end(), [&](const auto& other) {
      return other.socket->role == SocketRole::waiting && other.socket->peer == listening.id;
    });
    const auto dropped = dropped_.find(listening.id);
    return listening.waiting_count >
           static_cast<std::size_t>(inner) + (dropped == dropped_.end() ? 0 : dropped->second);
  }

  CaptureContext& context_;
  const std::vector<NamedSocket>& sockets_;
  std::map<std::uint64_t, Socket*> by_id_;
  std::map<std::string, Socket*> by_ends_;  // of connections with addresses
  std::vector<const Socket*> listening_;    // the same
  Senders senders_;
  std::map<std::uint64_t, std::uint64_t> listening_of_;
  std::set<std::uint64_t> broken_;
  std::map<std::uint64_t, std::size_t>
      dropped_;  // by listening socket: connections that do not wait
  std::set<std::uint64_t> told_;
  std::map<std::string, bool> free_addresses_;
};

}  // namespace

void settle_sockets(CaptureContext& context, const std::vector<NamedSocket>& sockets) {
  Settler(context, sockets).run();
}

}  // namespace ckpt::state
