// Which sockets of a program are connected with each other, and what a save says of all of them;
// see sockets.hpp.
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "state/sockets/sockets.hpp"

namespace ckpt::state {

namespace {

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

  // A local peer that is closed, or has no name, is not.
  static bool is_found_by_name(const Socket& socket) {
    if (socket.type != SOCK_DGRAM || socket.peer_name.empty()) return false;
    return socket.domain != AF_UNIX ||
           (socket.peer != 0 && !address_text(socket.peer_name).empty());
  }

  static void cut(const NamedSocket& named) {
    Socket& socket = *named.socket;
    socket.role = is_found_by_name(socket) ? SocketRole::plain : SocketRole::dead;
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
      if (name.empty() || !looked_at.insert(name).second) continue;
      if (named.socket->role == SocketRole::dead) {
        // Its new peer sends all of it.
        if (message.from != named.socket->peer_name)
          context_.report.add(
              Severity::changed, named.object, "local socket",
              fmt::format("what waits in it from {} comes back without a sender's name", name));
        continue;
      }
      if (comes_from_inside(*named.socket, message.from) || !name_is_taken(name)) continue;
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
    // __skb_try_recv_from_queue(): with MSG_PEEK it passes over those that had been looked at.
    if (socket.type != SOCK_STREAM &&
        std::any_of(socket.queue.begin(), socket.queue.end(),
                    [](const SocketMessage& message) { return message.bytes.empty(); }))
      context_.report.add(Severity::note, named.object, kind,
                          "an empty datagram waits in it: another save of this process does not "
                          "see it, because the kernel shows it to one look only");
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
