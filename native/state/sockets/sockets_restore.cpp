// Restore of sockets; see sockets.hpp.
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>

#include "base/error.hpp"
#include "state/sockets/socket_addresses.hpp"
#include "state/sockets/sockets.hpp"

namespace ckpt::state {

namespace {

// An end of IPv6 may have one of IPv4, whose address it sees mapped.
bool may_be_ends(const Socket& one, const Socket& other) {
  return one.type == other.type && is_tcp(one) == is_tcp(other) &&
         (one.domain == other.domain || is_tcp(one));
}

}  // namespace

void SocketMaker::add(const Socket& socket, const std::string& object) {
  if (!made_.emplace(socket.id, Made{&socket, object, -1, -1, ""}).second)
    image::damaged("the sockets: two of one id");
  order_.push_back(socket.id);
  senders_.add(socket);
}

SocketMaker::Made* SocketMaker::find(std::uint64_t id) {
  const auto found = made_.find(id);
  return found == made_.end() ? nullptr : &found->second;
}

void SocketMaker::make() {
  const auto each = [&](SocketRole role, void (SocketMaker::*maker)(Made&)) {
    for (const std::uint64_t id : order_) {
      Made& made = made_.at(id);
      if (made.socket->role == role && made.fd < 0) (this->*maker)(made);
    }
  };
  if (apart_) find_taken();
  each(SocketRole::listening, &SocketMaker::make_listening);
  for (const std::uint64_t id : order_) {
    Made& made = made_.at(id);
    if (made.socket->role != SocketRole::connected || made.fd >= 0) continue;
    Made* other = find(made.socket->peer);
    const bool with_itself = other == &made && is_tcp(*made.socket);
    if (other == nullptr || (other == &made && !with_itself) || other->fd >= 0 ||
        other->socket->role != SocketRole::connected || !may_be_ends(*made.socket, *other->socket))
      image::damaged("the two ends of a connection");
    if (with_itself)
      make_with_itself(made);
    else
      make_pair(made, *other);
  }
  each(SocketRole::plain, &SocketMaker::make_plain);
  // Peers by name, now that all names are there.
  for (const std::uint64_t id : order_) {
    Made& made = made_.at(id);
    const Socket& socket = *made.socket;
    if (socket.role != SocketRole::plain || socket.peer_name.empty() || made.is_stand_in ||
        is_kernel(socket.peer_name))
      continue;
    const std::int64_t result = connect(made.fd, peer_of(socket));
    if (result != 0)
      note(made,
           fmt::format("it cannot be connected with {} again ({}): sending fails",
                       address_text(socket.peer_name), describe_errno(static_cast<int>(-result))));
  }
  each(SocketRole::waiting, &SocketMaker::make_waiting);
  each(SocketRole::dead, &SocketMaker::make_dead);
  for (const std::uint64_t id : order_) {
    const Made& made = made_.at(id);
    if (made.socket->role == SocketRole::listening)
      inferior_.attempt(SYS_listen, {made.fd, made.socket->backlog});
  }
}

// A socket of the program may have got another port than it had.
std::string SocketMaker::peer_of(const Socket& socket) {
  if (socket.domain == AF_UNIX) {
    const Made* own = find(socket.peer);
    return own != nullptr && !own->name.empty() ? own->name : socket.peer_name;
  }
  const Socket* peer = senders_.find(socket, socket.peer_name);
  const Made* made = peer == nullptr ? nullptr : find(peer->id);
  if (made == nullptr || made->fd < 0) return socket.peer_name;
  return with_port_of(socket.peer_name, name_of(made->fd, socket.domain));
}

// One of another kind in the place of what this machine does not have, or the user may not make.
int SocketMaker::create(Made& made) {
  const Socket& socket = *made.socket;
  std::int64_t fd = inferior_.attempt(SYS_socket, {socket.domain, socket.type, socket.protocol});
  if (fd < 0) {
    const std::string why = describe_errno(static_cast<int>(-fd));
    if (is_tcp(socket)) {
      fd = inferior_.attempt(SYS_socket, {socket.domain, SOCK_STREAM, 0});
    } else if (sees_packets(socket) || socket.protocol == IPPROTO_UDPLITE) {
      fd = inferior_.attempt(SYS_socket, {AF_UNIX, SOCK_DGRAM, 0});
    }
    if (fd < 0) throw_errno("socket", static_cast<int>(-fd));
    made.is_stand_in = !is_tcp(socket);
    note(made, is_tcp(socket)
                   ? fmt::format("there is no MPTCP here ({}): it is a TCP socket", why)
                   : fmt::format("{}: it cannot be made here ({}): it receives nothing, and "
                                 "sending fails",
                                 family_name(socket), why));
  }
  const int moved = inferior_.move_away(static_cast<int>(fd));
  set_options_of(made, moved, false);
  return moved;
}

void SocketMaker::set_options_of(const Made& made, int fd, bool late) {
  const Socket& socket = *made.socket;
  const bool is_connected = socket.role == SocketRole::connected ||
                            socket.role == SocketRole::waiting || socket.role == SocketRole::dead;
  const auto refused =
      set_options(inferior_, fd, socket.options, late, socket.type == SOCK_STREAM, is_connected);
  if (made.is_stand_in) return;  // it is another kind of socket, which has been said
  for (const std::string& text : refused) note(made, text);
}

void SocketMaker::set_number(int fd, int name, int number) {
  const auto value = inferior_.put_value(number);
  inferior_.attempt(SYS_setsockopt, {fd, SOL_SOCKET, name, value, sizeof(int)});
}

std::string SocketMaker::name_of(int fd, int domain) {
  const auto length_at = inferior_.put_value(static_cast<socklen_t>(sizeof(sockaddr_storage)));
  const auto at = inferior_.reserve<sockaddr_storage>();
  if (inferior_.attempt(SYS_getsockname, {fd, at, length_at}) != 0) return family_only(domain);
  const auto address = at.read();
  const auto length = std::min<std::size_t>(length_at.read(), sizeof address);
  return {reinterpret_cast<const char*>(&address), length};
}

std::int64_t SocketMaker::connect(int fd, const std::string& address) {
  const auto at = inferior_.put(std::string_view(address));
  return inferior_.attempt(SYS_connect, {fd, at, address.size()});
}

int SocketMaker::accept(int fd) { return inferior_.open("accept", SYS_accept4, {fd, 0, 0, 0}); }

void SocketMaker::make_listening(Made& made) {
  constexpr std::uint64_t kRoomy = 4096;  // for the connections that are made below
  const Socket& socket = *made.socket;
  made.fd = create(made);
  bind(made, made.fd, socket.name, true);
  inferior_.call("listen", SYS_listen, {made.fd, kRoomy});
  if (made.name.empty()) made.name = name_of(made.fd, socket.domain);
}

void SocketMaker::make_pair(Made& one, Made& other) {
  const Socket& socket = *one.socket;
  if (is_tcp(socket)) {
    make_tcp_pair(one, other);
  } else if (!make_pair_by_listener(one, other) && !make_pair_by_listener(other, one) &&
             !make_pair_by_closed_listener(one, other) &&
             !make_pair_by_closed_listener(other, one)) {
    const std::array<int, 2> ends = make_ends(socket);
    one.fd = ends[0];
    other.fd = ends[1];
    if (socket.type == SOCK_DGRAM) {
      bind(one, one.fd, one.socket->name, false);
      bind(other, other.fd, other.socket->name, false);
    }
  }
  set_options_of(one, one.fd, false);
  set_options_of(other, other.fd, false);
}

// A connection that was made to a listening socket of the program has that one's name.
bool SocketMaker::make_pair_by_listener(Made& client, Made& server) {
  if (server.socket->name.empty() || server.socket->type == SOCK_DGRAM) return false;
  for (auto& [id, listening] : made_) {
    if (listening.socket->role != SocketRole::listening ||
        listening.socket->domain != server.socket->domain ||
        listening.socket->type != server.socket->type ||
        listening.socket->name != server.socket->name ||
        listening.socket->place != server.socket->place ||
        listening.socket->no_file != server.socket->no_file)
      continue;
    client.fd = create(client);
    bind(client, client.fd, client.socket->name, false);
    const std::int64_t result = connect(client.fd, listening.name);
    if (result != 0)
      throw_errno(fmt::format("connect {} with itself", client.object), static_cast<int>(-result));
    server.fd = accept(listening.fd);
    return true;
  }
  return false;
}

// Its file, where it still has one, is no way to a socket any more, and stays as it is.
bool SocketMaker::make_pair_by_closed_listener(Made& client, Made& server) {
  const Socket& socket = *server.socket;
  if (socket.name.empty() || socket.type == SOCK_DGRAM || client.socket->peer_name != socket.name)
    return false;
  Socket closed = socket;
  closed.no_file = true;
  closed.place.clear();
  Made listening{&closed, server.object, -1, -1, ""};
  listening.fd = create(listening);
  bool made = bind(listening, listening.fd, closed.name, false) &&
              inferior_.attempt(SYS_listen, {listening.fd, 1}) == 0;
  if (made) {
    client.fd = create(client);
    bind(client, client.fd, client.socket->name, false);
    made = connect(client.fd, listening.name.empty() ? closed.name : listening.name) == 0;
    if (made) server.fd = accept(listening.fd);
    if (!made) inferior_.close(client.fd);
  }
  inferior_.close(listening.fd);
  return made;
}

// Both ends have sent the first packet (TCP's simultaneous open).
void SocketMaker::make_with_itself(Made& made) {
  const Socket& socket = *made.socket;
  made.fd = create(made);
  if (bind(made, made.fd, socket.name, false) && connect(made.fd, socket.name) == 0) return;
  // The same connection may still exist: another port then.
  inferior_.close(made.fd);
  made.fd = create(made);
  for (const std::string& any : {with_any_port(socket.name), loopback(socket.domain)}) {
    const auto at = inferior_.put(std::string_view(any));
    if (inferior_.attempt(SYS_bind, {made.fd, at, any.size()}) == 0) break;
  }
  const std::string now = name_of(made.fd, socket.domain);
  const std::int64_t result = connect(made.fd, now);
  if (result != 0)
    throw_errno(fmt::format("connect {} with itself", made.object), static_cast<int>(-result));
  note_moved(made);
}

void SocketMaker::note_moved(const Made& made) {
  note(made, fmt::format("{} is taken: this end of the connection is at {} instead",
                         name_for_people(made.socket->name),
                         name_for_people(name_of(made.fd, made.socket->domain))));
}

// The one that has accepted this end.
SocketMaker::Made* SocketMaker::listening_for(const Made& end) {
  for (auto& [id, made] : made_)
    if (made.socket->role == SocketRole::listening && made.socket->domain == end.socket->domain &&
        listens_at(*made.socket, end.socket->name))
      return &made;
  return nullptr;
}

void SocketMaker::make_tcp_pair(Made& one, Made& other) {
  // The end whose name is a listening socket's has accepted.
  Made* listening = listening_for(one);
  Made& server = listening != nullptr ? one : other;
  Made& client = listening != nullptr ? other : one;
  if (listening == nullptr) listening = listening_for(server);
  // Without one: a listening socket for this connection alone.
  Made temporary;
  if (listening == nullptr) {
    temporary.socket = server.socket;
    temporary.object = server.object;
    temporary.fd = create(temporary);
    bind(temporary, temporary.fd, server.socket->name, true);
    inferior_.call("listen", SYS_listen, {temporary.fd, 1});
    listening = &temporary;
  }
  client.fd = create(client);
  const bool same_port = bind(client, client.fd, client.socket->name, false);
  // The address that the connection had, at the port that the listening socket has now.
  const std::string to =
      with_port_of(client.socket->peer_name, name_of(listening->fd, server.socket->domain));
  std::int64_t result = connect(client.fd, to);
  const bool again = result != 0;
  if (again) {
    // The same connection may still exist: another port then.
    inferior_.close(client.fd);
    client.fd = create(client);
    result = connect(client.fd, to);
  }
  if (result != 0)
    throw_errno(fmt::format("connect {} with itself", client.object), static_cast<int>(-result));
  if (again || !same_port) note_moved(client);
  server.fd = accept(listening->fd);
  if (temporary.fd >= 0) inferior_.close(temporary.fd);
}

void SocketMaker::make_waiting(Made& made) {
  const Made* listening = find(made.socket->peer);
  if (listening == nullptr || listening->socket->role != SocketRole::listening)
    image::damaged("a connection that waits to be accepted");
  made.fd = create(made);
  bind(made, made.fd, made.socket->name, false);
  const std::string to = made.socket->domain == AF_UNIX || made.socket->peer_name.empty()
                             ? listening->name
                             : with_port_of(made.socket->peer_name, listening->name);
  const std::int64_t result = connect(made.fd, to);
  if (result != 0)
    note(made, fmt::format("it cannot be connected with {} again: {}", address_text(to),
                           describe_errno(static_cast<int>(-result))));
}

void SocketMaker::make_plain(Made& made) {
  const Socket& socket = *made.socket;
  made.fd = create(made);
  // What waits in it can be sent to a name only.
  bind(made, made.fd, socket.name, socket.domain != AF_UNIX || !socket.queue.empty());
}

// The two ends of a connection between local sockets.
std::array<int, 2> SocketMaker::make_ends(const Socket& socket) {
  const auto ends_at = inferior_.reserve<std::array<int, 2>>();
  inferior_.call("socketpair", SYS_socketpair,
                 {socket.domain, socket.type, socket.protocol, ends_at});
  const auto [first, second] = ends_at.read();
  return {inferior_.move_away(first), inferior_.move_away(second)};
}

void SocketMaker::make_dead_local(Made& made) {
  const Socket& socket = *made.socket;
  const std::array<int, 2> ends = make_ends(socket);
  made.fd = ends[0];
  made.far_end = ends[1];
  if (socket.type == SOCK_DGRAM) {
    bind(made, made.fd, socket.name, false);
    // Only getpeername(2) tells of it.
    if (!address_text(socket.peer_name).empty()) bind_sender(made.far_end, socket.peer_name);
  }
  set_options_of(made, made.fd, false);
}

void SocketMaker::make_dead(Made& made) {
  const Socket& socket = *made.socket;
  if (socket.domain == AF_UNIX) return make_dead_local(made);
  const int listening = inferior_.open("socket", SYS_socket, {AF_INET, SOCK_STREAM, IPPROTO_TCP});
  const std::string here = loopback(AF_INET);
  const auto at = inferior_.put(std::string_view(here));
  inferior_.call("bind", SYS_bind, {listening, at, here.size()});
  made.fd = create(made);
  const std::string to = seen_from(made, name_of(listening, AF_INET));
  if (socket.error == ECONNREFUSED) {
    // connect(2) itself would tell the error.
    inferior_.attempt(SYS_fcntl, {made.fd, F_SETFL, O_NONBLOCK});
    connect(made.fd, to);
    await_error(made.fd);
  } else {
    inferior_.call("listen", SYS_listen, {listening, 1});
    const std::int64_t result = connect(made.fd, to);
    if (result != 0)
      throw_errno(fmt::format("{}: make a connection to be cut", made.object),
                  static_cast<int>(-result));
    made.far_end = accept(listening);
  }
  inferior_.close(listening);
}

// An address of IPv4 as a socket of IPv6 is to be given it.
std::string SocketMaker::seen_from(const Made& made, const std::string& address) {
  if (made.socket->domain != AF_INET6) return address;
  const auto value = inferior_.put_value(0);
  inferior_.attempt(SYS_setsockopt, {made.fd, IPPROTO_IPV6, IPV6_V6ONLY, value, sizeof(int)});
  return for_family(AF_INET6, address);
}

// Which is on its way, inside this machine.
void SocketMaker::await_error(int fd) {
  constexpr std::uint64_t kMostMilliseconds = 1000;
  const auto at = inferior_.put_value(pollfd{fd, 0, 0});
  inferior_.attempt(arch::kSysPoll, {at, 1, kMostMilliseconds});
}

}  // namespace ckpt::state
