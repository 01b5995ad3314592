// Restore of sockets; see sockets.hpp.
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/error.hpp"
#include "state/sockets/packet_sockets.hpp"
#include "state/sockets/sock_diag.hpp"
#include "state/sockets/sockets.hpp"

namespace ckpt::state {

namespace {

constexpr int kReceive = SHUT_RD;
constexpr int kSend = SHUT_WR;

int family_of(const std::string& address) {
  sa_family_t family = AF_UNSPEC;
  std::memcpy(&family, address.data(), std::min(address.size(), sizeof family));
  return family;
}

std::string family_only(int domain) {
  const auto family = static_cast<sa_family_t>(domain);
  return {reinterpret_cast<const char*>(&family), sizeof family};
}

// What getsockname(2) gives for a socket that has never been bound: bound to it, it would get a
// port, and could be bound no more.
bool is_of_no_port(const std::string& address) {
  const std::string text = address_text(address);
  return text == "0.0.0.0:0" || text == "[::]:0" || text == "netlink port 0";
}

// An address of this family that means the machine itself, at a port of the kernel's choice.
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

bool is_mapped(const std::string& address) {
  sockaddr_in6 six{};
  std::memcpy(&six, address.data(), std::min(address.size(), sizeof six));
  return six.sin6_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six.sin6_addr);
}

// An address of IPv4 as a socket of that family is to be given it.
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

// sin_port and sin6_port are at the same place.
constexpr std::size_t kPortAt = offsetof(sockaddr_in, sin_port);
static_assert(kPortAt == offsetof(sockaddr_in6, sin6_port));

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

// What an unconnected netlink socket is connected with.
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

// Whether it would get its address although another process has it, and some of what is sent there.
bool would_share(const Socket& socket) {
  return (socket.domain == AF_INET || socket.domain == AF_INET6) &&
         (is_on(socket, SOL_SOCKET, SO_REUSEPORT) ||
          (!is_tcp(socket) && is_on(socket, SOL_SOCKET, SO_REUSEADDR)));
}

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
      calls_.attempt(SYS_listen, {word(made.fd), word(made.socket->backlog)});
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

// Before there are any of the program's own, which may share an address among themselves.
void SocketMaker::find_taken() {
  for (const std::uint64_t id : order_) {
    Made& made = made_.at(id);
    const Socket& socket = *made.socket;
    if (socket.name.empty() || !would_share(socket) || taken_.contains(socket.name)) continue;
    const int fd = create(made);
    set_number(fd, SO_REUSEPORT, 0);
    // Connections that are still closing have no owner.
    set_number(fd, SO_REUSEADDR, static_cast<int>(is_tcp(socket)));
    const Addr at = calls_.put(std::string_view(socket.name));
    if (calls_.attempt(SYS_bind, {word(fd), at.value, socket.name.size()}) == -EADDRINUSE)
      taken_.insert(socket.name);
    calls_.attempt(SYS_close, {word(fd)});
  }
}

// One of another kind in the place of what this machine does not have, or the user may not make.
int SocketMaker::create(Made& made) {
  const Socket& socket = *made.socket;
  std::int64_t fd =
      calls_.attempt(SYS_socket, {word(socket.domain), word(socket.type), word(socket.protocol)});
  if (fd < 0) {
    const std::string why = describe_errno(static_cast<int>(-fd));
    if (is_tcp(socket)) {
      fd = calls_.attempt(SYS_socket, {word(socket.domain), SOCK_STREAM, 0});
    } else if (sees_packets(socket) || socket.protocol == IPPROTO_UDPLITE) {
      fd = calls_.attempt(SYS_socket, {AF_UNIX, SOCK_DGRAM, 0});
    }
    if (fd < 0) throw_errno("socket", static_cast<int>(-fd));
    made.is_stand_in = !is_tcp(socket);
    note(made, is_tcp(socket)
                   ? fmt::format("there is no MPTCP here ({}): it is a TCP socket", why)
                   : fmt::format("{}: it cannot be made here ({}): it receives nothing, and "
                                 "sending fails",
                                 family_name(socket), why));
  }
  const int moved = calls_.move_away(static_cast<int>(fd));
  set_options_of(made, moved, false);
  return moved;
}

void SocketMaker::set_options_of(const Made& made, int fd, bool late) {
  const Socket& socket = *made.socket;
  const bool is_connected = socket.role == SocketRole::connected ||
                            socket.role == SocketRole::waiting || socket.role == SocketRole::dead;
  const auto refused =
      set_options(calls_, fd, socket.options, late, socket.type == SOCK_STREAM, is_connected);
  if (made.is_stand_in) return;  // it is another kind of socket, which has been said
  for (const std::string& text : refused) note(made, text);
}

void SocketMaker::set_number(int fd, int name, int number) {
  const Addr value = calls_.put_value(number);
  calls_.attempt(SYS_setsockopt, {word(fd), SOL_SOCKET, word(name), value.value, sizeof(int)});
}

std::string SocketMaker::name_of(int fd, int domain) {
  const Addr length_at = calls_.put_value(static_cast<socklen_t>(sizeof(sockaddr_storage)));
  const Addr at = calls_.reserve(sizeof(sockaddr_storage));
  if (calls_.attempt(SYS_getsockname, {word(fd), at.value, length_at.value}) != 0)
    return family_only(domain);
  const auto address = calls_.read<sockaddr_storage>(at);
  const auto length = std::min<std::size_t>(calls_.read<socklen_t>(length_at), sizeof address);
  return {reinterpret_cast<const char*>(&address), length};
}

std::int64_t SocketMaker::connect(int fd, const std::string& address) {
  const Addr at = calls_.put(std::string_view(address));
  return calls_.attempt(SYS_connect, {word(fd), at.value, address.size()});
}

int SocketMaker::accept(int fd) { return calls_.open("accept", SYS_accept4, {word(fd), 0, 0, 0}); }

void SocketMaker::set_free(const Socket& socket, int fd, bool free) {
  const Addr value = calls_.put_value(static_cast<int>(free));
  const bool six = socket.domain == AF_INET6;
  calls_.attempt(SYS_setsockopt,
                 {word(fd), word(six ? IPPROTO_IPV6 : IPPROTO_IP),
                  word(six ? IPV6_FREEBIND : IP_FREEBIND), value.value, sizeof(int)});
}

// An address of a network, or an abstract name.
bool SocketMaker::bind_name(Made& made, int fd, const std::string& address, bool must) {
  const Socket& socket = *made.socket;
  // Connections of the program that are still closing keep the port otherwise.
  if (is_tcp(socket)) set_number(fd, SO_REUSEADDR, 1);
  const auto try_to_bind = [&](const std::string& name) {
    const Addr at = calls_.put(std::string_view(name));
    return calls_.attempt(SYS_bind, {word(fd), at.value, name.size()});
  };
  const bool taken = taken_.contains(address);
  const bool was_free = is_on(socket, IPPROTO_IP, IP_FREEBIND);
  if (socket.free_name && !was_free) set_free(socket, fd, true);
  std::int64_t result = taken ? -EADDRINUSE : try_to_bind(address);
  if (result == -EADDRINUSE && !taken && is_tcp(socket)) {
    forget_closed_connections(address);
    result = try_to_bind(address);
  }
  if (socket.free_name && !was_free) set_free(socket, fd, false);
  const std::string_view what = result == -EADDRINUSE ? "is taken" : "cannot be had";
  if (result != 0 && must) {
    const auto moved = moved_.find(address);
    const std::string other = moved != moved_.end()      ? moved->second
                              : socket.domain == AF_UNIX ? family_only(AF_UNIX)
                                                         : with_any_port(address);
    if (try_to_bind(other) != 0) try_to_bind(loopback(socket.domain));
    const std::string now = name_of(fd, socket.domain);
    if (taken) moved_.emplace(address, now);
    note(made,
         fmt::format("{} {} ({}): the program's socket is at {} instead", name_for_people(address),
                     what, describe_errno(static_cast<int>(-result)), name_for_people(now)));
  }
  if (result != 0 && !must && socket.domain == AF_UNIX)
    note(made, fmt::format("{} {} ({}): the program's socket has no name", name_for_people(address),
                           what, describe_errno(static_cast<int>(-result))));
  if (is_tcp(socket))
    set_number(fd, SO_REUSEADDR, static_cast<int>(is_on(socket, SOL_SOCKET, SO_REUSEADDR)));
  return result == 0;
}

// Interfaces are known by numbers, which another machine, and the next start, has others of.
void SocketMaker::bind_packet(Made& made, int fd) {
  const Socket& socket = *made.socket;
  std::string address = address_on_interface(socket);
  const Addr at = calls_.put(std::string_view(address));
  const std::int64_t result =
      address.empty() ? -ENODEV : calls_.attempt(SYS_bind, {word(fd), at.value, address.size()});
  if (result != 0)
    note(made, fmt::format("it cannot be bound to {} ({}): it receives nothing",
                           socket.interface.empty() ? "its protocol" : socket.interface,
                           describe_errno(static_cast<int>(-result))));
}

// `must`: it needs a name, whatever it is.
bool SocketMaker::bind(Made& made, int fd, const std::string& address, bool must) {
  const Socket& socket = *made.socket;
  if (address.empty() || is_of_no_port(address) || made.is_stand_in) return true;
  if (socket.domain == AF_PACKET) {
    bind_packet(made, fd);
    return true;
  }
  bool bound = false;
  if (socket.domain == AF_UNIX && !address_text(address).starts_with('@')) {
    bound = bind_path(made, fd, address);
  } else {
    bound = bind_name(made, fd, address, must);
    return bound;
  }
  if (!bound && must) {
    const std::string any = family_only(AF_UNIX);
    const Addr at = calls_.put(std::string_view(any));
    calls_.attempt(SYS_bind, {word(fd), at.value, any.size()});
  }
  return bound;
}

void SocketMaker::make_listening(Made& made) {
  constexpr std::uint64_t kRoomy = 4096;  // for the connections that are made below
  const Socket& socket = *made.socket;
  made.fd = create(made);
  bind(made, made.fd, socket.name, true);
  calls_.call("listen", SYS_listen, {word(made.fd), kRoomy});
  if (made.name.empty()) made.name = name_of(made.fd, socket.domain);
}

void SocketMaker::make_pair(Made& one, Made& other) {
  const Socket& socket = *one.socket;
  if (is_tcp(socket)) {
    make_tcp_pair(one, other);
  } else if (!make_pair_by_listener(one, other) && !make_pair_by_listener(other, one) &&
             !make_pair_by_closed_listener(one, other) &&
             !make_pair_by_closed_listener(other, one)) {
    const Addr ends_at = calls_.reserve(2 * sizeof(int));
    calls_.call("socketpair", SYS_socketpair,
                {word(socket.domain), word(socket.type), word(socket.protocol), ends_at.value});
    const int first = calls_.read<int>(ends_at);
    const int second = calls_.read<int>(ends_at + sizeof(int));
    one.fd = calls_.move_away(first);
    other.fd = calls_.move_away(second);
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
              calls_.attempt(SYS_listen, {word(listening.fd), 1}) == 0;
  if (made) {
    client.fd = create(client);
    bind(client, client.fd, client.socket->name, false);
    made = connect(client.fd, listening.name.empty() ? closed.name : listening.name) == 0;
    if (made) server.fd = accept(listening.fd);
    if (!made) calls_.close(client.fd);
  }
  calls_.close(listening.fd);
  return made;
}

// Both ends have sent the first packet (TCP's simultaneous open).
void SocketMaker::make_with_itself(Made& made) {
  const Socket& socket = *made.socket;
  made.fd = create(made);
  if (bind(made, made.fd, socket.name, false) && connect(made.fd, socket.name) == 0) return;
  // The same connection may still exist: another port then.
  calls_.close(made.fd);
  made.fd = create(made);
  for (const std::string& any : {with_any_port(socket.name), loopback(socket.domain)}) {
    const Addr at = calls_.put(std::string_view(any));
    if (calls_.attempt(SYS_bind, {word(made.fd), at.value, any.size()}) == 0) break;
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
    calls_.call("listen", SYS_listen, {word(temporary.fd), 1});
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
    calls_.close(client.fd);
    client.fd = create(client);
    result = connect(client.fd, to);
  }
  if (result != 0)
    throw_errno(fmt::format("connect {} with itself", client.object), static_cast<int>(-result));
  if (again || !same_port) note_moved(client);
  server.fd = accept(listening->fd);
  if (temporary.fd >= 0) calls_.close(temporary.fd);
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

void SocketMaker::make_dead(Made& made) {
  const Socket& socket = *made.socket;
  if (socket.domain == AF_UNIX) {
    const Addr ends_at = calls_.reserve(2 * sizeof(int));
    calls_.call("socketpair", SYS_socketpair,
                {word(socket.domain), word(socket.type), word(socket.protocol), ends_at.value});
    const int first = calls_.read<int>(ends_at);
    const int second = calls_.read<int>(ends_at + sizeof(int));
    made.fd = calls_.move_away(first);
    made.far_end = calls_.move_away(second);
    set_options_of(made, made.fd, false);
    return;
  }
  const int listening = calls_.open("socket", SYS_socket, {AF_INET, SOCK_STREAM, IPPROTO_TCP});
  const std::string here = loopback(AF_INET);
  const Addr at = calls_.put(std::string_view(here));
  calls_.call("bind", SYS_bind, {word(listening), at.value, here.size()});
  made.fd = create(made);
  const std::string to = seen_from(made, name_of(listening, AF_INET));
  if (socket.error == ECONNREFUSED) {
    // connect(2) itself would tell the error.
    calls_.attempt(SYS_fcntl, {word(made.fd), F_SETFL, O_NONBLOCK});
    connect(made.fd, to);
    await_error(made.fd);
  } else {
    calls_.call("listen", SYS_listen, {word(listening), 1});
    const std::int64_t result = connect(made.fd, to);
    if (result != 0)
      throw_errno(fmt::format("{}: make a connection to be cut", made.object),
                  static_cast<int>(-result));
    made.far_end = accept(listening);
  }
  calls_.close(listening);
}

// An address of IPv4 as a socket of IPv6 is to be given it.
std::string SocketMaker::seen_from(const Made& made, const std::string& address) {
  if (made.socket->domain != AF_INET6) return address;
  const Addr value = calls_.put_value(0);
  calls_.attempt(SYS_setsockopt,
                 {word(made.fd), IPPROTO_IPV6, IPV6_V6ONLY, value.value, sizeof(int)});
  return for_family(AF_INET6, address);
}

// Which is on its way, inside this machine.
void SocketMaker::await_error(int fd) {
  constexpr std::uint64_t kMostMilliseconds = 1000;
  const Addr at = calls_.put_value(pollfd{fd, 0, 0});
  calls_.attempt(arch::kSysPoll, {at.value, 1, kMostMilliseconds});
}

namespace {

std::string rights(const SocketMessage& message, const std::function<int(std::size_t)>& number_of) {
  std::string control;
  if (message.descriptors.empty()) return control;
  const std::size_t bytes = message.descriptors.size() * sizeof(int);
  control.resize(CMSG_SPACE(bytes));
  auto* head = reinterpret_cast<cmsghdr*>(control.data());
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(bytes);
  for (std::size_t i = 0; i < message.descriptors.size(); ++i) {
    const int fd = number_of(message.descriptors[i]);
    std::memcpy(CMSG_DATA(head) + i * sizeof fd, &fd, sizeof fd);
  }
  return control;
}

}  // namespace

int SocketMaker::option_value(int fd, int name) {
  const Addr value = calls_.put_value(-1);
  const Addr length = calls_.put_value(static_cast<socklen_t>(sizeof(int)));
  const std::int64_t result =
      calls_.attempt(SYS_getsockopt, {word(fd), SOL_SOCKET, word(name), value.value, length.value});
  return result == 0 ? calls_.read<int>(value) : -1;
}

// Room for more than the program itself could send at once.
SocketMaker::Room SocketMaker::make_room(int fd) {
  constexpr int kLarge = 4 << 20;
  const Room before{option_value(fd, SO_SNDBUF), option_value(fd, kBufferLock)};
  set_number(fd, SO_SNDBUF, kLarge);
  set_number(fd, SO_SNDBUFFORCE, kLarge);
  return before;
}

void SocketMaker::take_room(int fd, const Room& before) {
  set_number(fd, SO_SNDBUF, before.bytes / 2);  // the kernel doubles it
  set_number(fd, SO_SNDBUFFORCE, before.bytes / 2);
  if (before.lock >= 0) set_number(fd, kBufferLock, before.lock);
}

std::int64_t SocketMaker::send_piece(int from, std::string_view bytes, const std::string& to,
                                     const std::string& control, bool urgent) {
  iovec piece{};
  msghdr head{};
  // NOLINTBEGIN(performance-no-int-to-ptr): addresses of the other process
  piece.iov_base = reinterpret_cast<void*>(calls_.put(bytes).value);
  piece.iov_len = bytes.size();
  head.msg_iov = reinterpret_cast<iovec*>(calls_.put_value(piece).value);
  head.msg_iovlen = 1;
  if (!to.empty()) {
    head.msg_name = reinterpret_cast<void*>(calls_.put(std::string_view(to)).value);
    head.msg_namelen = static_cast<socklen_t>(to.size());
  }
  if (!control.empty()) {
    head.msg_control = reinterpret_cast<void*>(calls_.put(std::string_view(control)).value);
    head.msg_controllen = control.size();
  }
  // NOLINTEND(performance-no-int-to-ptr)
  const Addr at = calls_.put_value(head);
  const int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (urgent ? MSG_OOB : 0);
  return calls_.attempt(SYS_sendmsg, {word(from), at.value, word(flags)});
}

// Returns an errno value, and how much was sent.
int SocketMaker::send_all(int from, const SocketMessage& message, const std::string& to,
                          std::string control, bool in_pieces, std::size_t& done) {
  constexpr std::size_t kPiece = 256U << 10U;
  const auto is_full = [](std::int64_t result) {
    return result == -EAGAIN || result == -EMSGSIZE || result == -ENOBUFS;
  };
  std::optional<Room> before;
  int error = 0;
  for (;;) {
    const std::string_view rest = std::string_view(message.bytes).substr(done);
    const std::int64_t sent = send_piece(from, rest.substr(0, in_pieces ? kPiece : rest.npos), to,
                                         control, message.urgent);
    if (is_full(sent) && !before) {
      before = make_room(from);
      continue;
    }
    if (sent < 0) {
      error = static_cast<int>(-sent);
      break;
    }
    done += static_cast<std::size_t>(sent);
    control.clear();  // goes with the first piece
    if (!in_pieces || done >= message.bytes.size()) break;
  }
  if (before) take_room(from, *before);
  return error;
}

void SocketMaker::send(int from, const SocketMessage& message, const std::string& to,
                       const std::function<int(std::size_t)>& number_of, const Made& receiver) {
  std::size_t done = 0;
  const int error = send_all(from, message, to, rights(message, number_of),
                             receiver.socket->type == SOCK_STREAM, done);
  if (error != 0) {
    note(receiver, fmt::format("{} bytes that waited in it could not be put back ({})",
                               message.bytes.size() - done, describe_errno(error)));
    return;
  }
  if (!message.taken) return;
  const Addr at = calls_.reserve(1);
  calls_.attempt(SYS_recvfrom, {word(receiver.fd), at.value, 1, MSG_OOB | MSG_DONTWAIT, 0, 0});
}

// A path is free only if there is no file: the one that a sender has left is the user's.
std::int64_t SocketMaker::bind_sender(int fd, const std::string& name) {
  const std::string text = address_text(name);
  const bool is_path = !text.empty() && name.size() > offsetof(sockaddr_un, sun_path) &&
                       family_of(name) == AF_UNIX && !text.starts_with('@');
  const std::string path = text.starts_with('/') ? text : directory_ + "/" + text;
  struct stat status {};
  if (is_path && ::lstat(path.c_str(), &status) == 0) return -EEXIST;
  const Addr at = calls_.put(std::string_view(name));
  const std::int64_t result = calls_.attempt(SYS_bind, {word(fd), at.value, name.size()});
  if (is_path && result == 0) ::unlink(path.c_str());  // the socket keeps the name
  return result;
}

// A socket to send from that has the name of one that is closed; -1 if there is to be none.
int SocketMaker::make_sender(const Made& receiver, const std::string& name) {
  const Socket& socket = *receiver.socket;
  const int fd = calls_.open("socket", SYS_socket,
                             {word(socket.domain), word(socket.type), word(socket.protocol)});
  if (address_text(name).empty()) return fd;
  const std::int64_t result = bind_sender(fd, name);
  if (result == 0) return fd;
  const std::string why = describe_errno(static_cast<int>(-result));
  if (socket.domain == AF_UNIX) {
    note(receiver, fmt::format("{} cannot be had ({}): what waits in it from there has no sender's "
                               "name",
                               address_text(name), why));
    return fd;
  }
  // From another address it would seem to come from another socket.
  note(receiver, fmt::format("{} cannot be had ({}): what waited in it from there is lost",
                             address_text(name), why));
  calls_.close(fd);
  return -1;
}

const SocketMaker::Made* SocketMaker::find_sender(const Made& receiver,
                                                  const SocketMessage& message) const {
  const Socket* sender = senders_.find(*receiver.socket, message.from);
  return sender == nullptr ? nullptr : &made_.at(sender->id);
}

namespace {

// Where a socket is to send to, so that `receiver` gets it from the address that it came from: one
// that is bound everywhere is reached at each of the machine's.
std::string way_to(const std::string& receiver, const SocketMessage& message, int sender_domain) {
  if (!is_inet_address(receiver)) return receiver;
  const std::string text = address_text(receiver);
  const bool everywhere = text.starts_with("0.0.0.0:") || text.starts_with("[::]:");
  const bool from_network = is_inet_address(message.from);
  return for_family(sender_domain,
                    everywhere && from_network ? with_port_of(message.from, receiver) : receiver);
}

}  // namespace

// From the socket that has sent them, or one that has its name, or one of no name.
void SocketMaker::fill_datagrams(Made& made, const std::function<int(std::size_t)>& number_of) {
  const Socket& socket = *made.socket;
  const Made* peer = socket.role == SocketRole::connected ? find(socket.peer) : nullptr;
  const std::string name = !made.name.empty() ? made.name : name_of(made.fd, socket.domain);
  std::map<std::string, int> temporary;
  for (const SocketMessage& message : socket.queue) {
    const Made* own = find_sender(made, message);
    if (own == nullptr) own = peer;
    int sender = own == nullptr ? -1 : own->fd;
    if (own == nullptr) {
      const auto [known, is_new] = temporary.try_emplace(message.from, -1);
      if (is_new) known->second = make_sender(made, message.from);
      sender = known->second;
    }
    const int domain = own == nullptr ? socket.domain : own->socket->domain;
    const std::string to = peer != nullptr ? "" : way_to(name, message, domain);
    if (sender >= 0) send(sender, message, to, number_of, made);
  }
  for (const auto& [from, fd] : temporary)
    if (fd >= 0) calls_.close(fd);
}

// A local connection that has ended is one in both directions. Of a TCP connection only that one is
// known in which the end has come: the peer may still read.
bool SocketMaker::becomes_silent(const Socket& socket) const {
  return peers_ != nullptr && !socket.broken && !socket.over &&
         !(socket.ended && socket.domain == AF_UNIX);
}

void SocketMaker::leave_far_end(Made& made) {
  const Socket& socket = *made.socket;
  if (becomes_silent(socket)) {
    if (socket.ended) calls_.attempt(SYS_shutdown, {word(made.far_end), kSend});
    peers_->hold(SilentPeers::take(calls_.pid(), made.far_end));
    note(made, SilentPeers::note());
  } else if (socket.domain != AF_UNIX && !socket.ended) {
    const linger at_once{1, 0};  // close(2) resets then
    const Addr value = calls_.put_value(at_once);
    calls_.attempt(SYS_setsockopt,
                   {word(made.far_end), SOL_SOCKET, SO_LINGER, value.value, sizeof at_once});
  }
  // A local one that closes with something unread in it resets.
  if (socket.domain == AF_UNIX && socket.error != 0)
    send(
        made.fd, {std::string(1, '\0'), "", {}}, "", [](std::size_t) { return -1; }, made);
  calls_.close(made.far_end);
  made.far_end = -1;
  if (!socket.over || socket.domain == AF_UNIX) return;
  await_error(made.fd);
  if (socket.error != 0) return;  // the program takes it
  const Addr value = calls_.reserve(sizeof(int));
  const Addr length = calls_.put_value(static_cast<socklen_t>(sizeof(int)));
  calls_.attempt(SYS_getsockopt, {word(made.fd), SOL_SOCKET, SO_ERROR, value.value, length.value});
}

// What has come before its filter was there.
void SocketMaker::empty_queue(int fd) {
  constexpr int kMost = 10'000;
  const Addr at = calls_.reserve(1);
  for (int i = 0; i < kMost; ++i)
    if (calls_.attempt(SYS_recvfrom, {word(fd), at.value, 1, MSG_DONTWAIT, 0, 0}) < 0) break;
}

void SocketMaker::fill(const std::function<int(std::size_t)>& number_of) {
  for (const std::uint64_t id : order_) {
    Made& made = made_.at(id);
    const Socket& socket = *made.socket;
    if (socket.queue.empty()) continue;
    const Made* peer = socket.role == SocketRole::connected ? find(socket.peer) : nullptr;
    if (made.far_end >= 0 || (peer != nullptr && socket.type != SOCK_DGRAM)) {
      for (const SocketMessage& message : socket.queue)
        send(made.far_end >= 0 ? made.far_end : peer->fd, message, "", number_of, made);
    } else {
      fill_datagrams(made, number_of);
    }
  }
  for (const std::uint64_t id : order_) {
    Made& made = made_.at(id);
    const Socket& socket = *made.socket;
    if (made.far_end >= 0) leave_far_end(made);
    if (socket.no_sending) calls_.attempt(SYS_shutdown, {word(made.fd), kSend});
    if (socket.no_receiving) calls_.attempt(SYS_shutdown, {word(made.fd), kReceive});
    set_options_of(made, made.fd, true);
    if (sees_packets(socket)) empty_queue(made.fd);
  }
}

}  // namespace ckpt::state
