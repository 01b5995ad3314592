// Restore of what waits in sockets; see sockets.hpp.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/error.hpp"
#include "state/sockets/socket_addresses.hpp"
#include "state/sockets/sockets.hpp"

namespace ckpt::state {

namespace {

constexpr int kReceive = SHUT_RD;
constexpr int kSend = SHUT_WR;

}  // namespace

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
  const auto value = inferior_.put_value(-1);
  const auto length = inferior_.put_value(static_cast<socklen_t>(sizeof(int)));
  const std::int64_t result =
      inferior_.attempt(SYS_getsockopt, {fd, SOL_SOCKET, name, value, length});
  return result == 0 ? value.read() : -1;
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
  const auto bytes_at = inferior_.put(bytes);
  const auto to_at = inferior_.put(std::string_view(to));
  const auto control_at = inferior_.put(std::string_view(control));
  // NOLINTBEGIN(performance-no-int-to-ptr): addresses of the other process
  const iovec piece{reinterpret_cast<void*>(bytes_at.at().value), bytes.size()};
  const auto piece_at = inferior_.put_value(piece);
  msghdr head{};
  head.msg_iov = reinterpret_cast<iovec*>(piece_at.at().value);
  head.msg_iovlen = 1;
  if (!to.empty()) {
    head.msg_name = reinterpret_cast<void*>(to_at.at().value);
    head.msg_namelen = static_cast<socklen_t>(to.size());
  }
  if (!control.empty()) {
    head.msg_control = reinterpret_cast<void*>(control_at.at().value);
    head.msg_controllen = control.size();
  }
  // NOLINTEND(performance-no-int-to-ptr)
  const auto at = inferior_.put_value(head);
  const int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (urgent ? MSG_OOB : 0);
  return inferior_.attempt(SYS_sendmsg, {from, at, flags});
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
                                         control, message.urgency != Urgency::none);
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
  if (message.urgency != Urgency::taken) return;
  const auto at = inferior_.reserve(1);
  inferior_.attempt(SYS_recvfrom, {receiver.fd, at, 1, MSG_OOB | MSG_DONTWAIT, 0, 0});
}

// A path is free only if there is no file: the one that a sender has left is the user's.
std::int64_t SocketMaker::bind_sender(int fd, const std::string& name) {
  const std::string text = address_text(name);
  const bool is_path = !text.empty() && name.size() > offsetof(sockaddr_un, sun_path) &&
                       family_of(name) == AF_UNIX && !text.starts_with('@');
  const std::string path = text.starts_with('/') ? text : directory_ + "/" + text;
  struct stat status {};
  if (is_path && ::lstat(path.c_str(), &status) == 0) return -EEXIST;
  const auto at = inferior_.put(std::string_view(name));
  const std::int64_t result = inferior_.attempt(SYS_bind, {fd, at, name.size()});
  if (is_path && result == 0) ::unlink(path.c_str());  // the socket keeps the name
  return result;
}

// A socket to send from that has the name of one that is closed; -1 if there is to be none.
int SocketMaker::make_sender(const Made& receiver, const std::string& name) {
  const Socket& socket = *receiver.socket;
  const int fd =
      inferior_.open("socket", SYS_socket, {socket.domain, socket.type, socket.protocol});
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
  inferior_.close(fd);
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
    if (fd >= 0) inferior_.close(fd);
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
    if (socket.ended) inferior_.attempt(SYS_shutdown, {made.far_end, kSend});
    peers_->hold(SilentPeers::take(inferior_.pid(), made.far_end));
    note(made, SilentPeers::note());
  } else if (socket.domain != AF_UNIX && !socket.ended) {
    const linger at_once{1, 0};  // close(2) resets then
    const auto value = inferior_.put_value(at_once);
    inferior_.attempt(SYS_setsockopt, {made.far_end, SOL_SOCKET, SO_LINGER, value, sizeof at_once});
  }
  // A local one that closes with something unread in it resets.
  if (socket.domain == AF_UNIX && socket.error != 0)
    send(
        made.fd, {std::string(1, '\0'), "", {}}, "", [](std::size_t) { return -1; }, made);
  inferior_.close(made.far_end);
  made.far_end = -1;
  if (!socket.over || socket.domain == AF_UNIX) return;
  await_error(made.fd);
  if (socket.error != 0) return;  // the program takes it
  const auto value = inferior_.reserve<int>();
  const auto length = inferior_.put_value(static_cast<socklen_t>(sizeof(int)));
  inferior_.attempt(SYS_getsockopt, {made.fd, SOL_SOCKET, SO_ERROR, value, length});
}

// A socket that is connected takes nothing from others than its peer.
void SocketMaker::name_lost_senders(const Made& made) {
  const Socket& socket = *made.socket;
  if (socket.domain != AF_UNIX || socket.type != SOCK_DGRAM) return;
  std::set<std::string> named;
  for (const SocketMessage& message : socket.queue) {
    const std::string from = address_text(message.from);
    if (!from.empty() && message.from != socket.peer_name && named.insert(from).second)
      note(made, fmt::format("what waits in it from {} has no sender's name", from));
  }
}

// What has come before its filter was there.
void SocketMaker::empty_queue(int fd) {
  constexpr int kMost = 10'000;
  const auto at = inferior_.reserve(1);
  for (int i = 0; i < kMost; ++i)
    if (inferior_.attempt(SYS_recvfrom, {fd, at, 1, MSG_DONTWAIT, 0, 0}) < 0) break;
}

void SocketMaker::fill(const std::function<int(std::size_t)>& number_of) {
  for (const std::uint64_t id : order_) {
    Made& made = made_.at(id);
    const Socket& socket = *made.socket;
    if (socket.queue.empty()) continue;
    const Made* peer = socket.role == SocketRole::connected ? find(socket.peer) : nullptr;
    if (made.far_end >= 0 || (peer != nullptr && socket.type != SOCK_DGRAM)) {
      name_lost_senders(made);
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
    if (socket.no_sending) inferior_.attempt(SYS_shutdown, {made.fd, kSend});
    if (socket.no_receiving) inferior_.attempt(SYS_shutdown, {made.fd, kReceive});
    set_options_of(made, made.fd, true);
    if (sees_packets(socket)) empty_queue(made.fd);
  }
}

}  // namespace ckpt::state
