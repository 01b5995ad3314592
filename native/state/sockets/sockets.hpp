// Sockets. Those whose other end is in the program as well come back connected, with what was on
// its way; listening ones listen again; connections that lead out of the program come back as if
// the far end had cut them, so that the program's own handling of that runs, or, if that was asked
// for, as if it said nothing (silent_peers.hpp).
//
// Capture: read_socket() looks at one, through a duplicate of our own and through sock_diag(7);
// settle_sockets() then knows all of them and tells inner connections from outer ones.
// Restore: SocketMaker makes them in the process itself, so that credentials and ids are its own.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "image/fields.hpp"
#include "state/context.hpp"
#include "state/sockets/silent_peers.hpp"
#include "state/sockets/sock_diag.hpp"
#include "state/sockets/socket_files.hpp"
#include "state/sockets/socket_options.hpp"
#include "state/sockets/socket_queue.hpp"

namespace ckpt::state {

enum class SocketRole {
  plain,  // neither listens nor has a connection; a datagram socket may have a peer
  listening,
  connected,  // with a socket of the program
  waiting,    // connected to a listening socket of the program that has not accepted yet
  dead,       // connected to another program, or no longer at all
};

struct Socket {
  std::uint64_t id = 0;  // inode: names it among the sockets of the program
  int domain = 0;
  int type = 0;
  int protocol = 0;
  SocketRole role = SocketRole::plain;
  std::string interface;  // of a packet socket that has one
  std::string name;       // addresses as the kernel gives them (struct sockaddr_*); empty: none
  std::string peer_name;
  bool free_name = false;  // no address of this machine: bound by the leave of IP_FREEBIND
  std::uint64_t peer = 0;  // connected: the other end; waiting: the listening socket
  int backlog = 0;
  bool no_receiving = false;  // shutdown(2)
  bool no_sending = false;
  bool ended = false;      // dead: the far end has closed in good order, rather than been cut off
  bool broken = false;     // dead: its end was inside, but what was on its way could not be read
  bool over = false;       // dead: the connection was closed both ways, or ended by an error
  int error = 0;           // over: the program has not been told yet of this one (errno)
  unsigned path_mode = 0;  // of a named local socket's file
  std::int64_t path_owner = -1;  // the same; -1: not known
  std::int64_t path_group = -1;
  std::string place;     // of that file, if it is not at the socket's name
  bool no_file = false;  // there is none any more
  std::vector<SocketOption> options;
  std::vector<SocketMessage> queue;
  // Known at the save only: sockets that wait to be accepted, and what the far end of a TCP
  // connection has no room for yet (the bytes themselves only for the privileged).
  std::vector<std::uint64_t> clients;
  std::size_t waiting_count = 0;
  std::string unsent;
  std::size_t unsent_bytes = 0;
  bool file_lost = false;  // there may be one, but where cannot be found out
  std::uint64_t file_names = 0;
  std::vector<std::string> missing;  // what of it does not come back
  std::string upper_layer;           // of TCP, such as "tls"
  bool urgent_lost = false;
  bool hidden = false;    // messages wait behind an error that is to be read first
  bool has_sent = false;  // known at a save; what has been received may be counted, too
};

/// What the kernel is asked once for all sockets of a process.
struct SocketAnswers {
  LocalSockets local;
  InetSockets inet;
  NewSockets fresh;
};

/// `own`: our duplicate of the descriptor; the socket must not be in use by a running thread.
/// Nothing is taken out of its queue. Returns nothing for families that are not known, with the
/// reason in words in `why_not`.
std::optional<Socket> read_socket(CaptureContext& context, int own, std::uint64_t inode,
                                  const DescribePassed& describe_passed, SocketAnswers& answers,
                                  std::string& why_not);

/// A socket and how messages name it ("fd 5").
struct NamedSocket {
  Socket* socket = nullptr;
  std::string object;
  bool is_stream = false;  // a standard stream that comes back as the restore's: not to be reported
};

/// Finds out which connections are inside, and reports what will be different.
void settle_sockets(CaptureContext& context, const std::vector<NamedSocket>& sockets);

const image::Fields<SocketOption>& fields_of(const SocketOption* /*type*/);
const image::Fields<SocketMessage>& fields_of(const SocketMessage* /*type*/);
const image::Fields<Socket>& fields_of(const Socket* /*type*/);

/// "127.0.0.1:80", "/run/x", "@name"; empty for no address.
std::string address_text(const std::string& address);
/// The same, never empty.
std::string name_for_people(const std::string& address);
/// Sockets of one kind by the addresses that what they send comes from: their own, or any of this
/// machine if they are bound to all of them.
class Senders {
 public:
  /// `socket` outlives this.
  void add(const Socket& socket);
  /// Nothing if none of them has sent that to `receiver`.
  [[nodiscard]] const Socket* find(const Socket& receiver, const std::string& from) const;

 private:
  std::map<std::string, const Socket*> by_name_;
};
/// Whether it is one of TCP or MPTCP, which behave alike.
bool is_tcp(const Socket& socket);
bool is_udp(const Socket& socket);  // or one of UDP-Lite
/// Whether connections of TCP to that address come to this listening socket.
bool listens_at(const Socket& listening, const std::string& address);
/// Whether a flag is set that a new socket does not have.
bool is_on(const Socket& socket, int level, int name);
/// Whether it gets packets as they are on the network: a raw, ping or packet socket.
bool sees_packets(const Socket& socket);
/// Whether a local socket has this name, as address_text() gives it.
bool is_local_name_in_use(const std::string& name);
/// What a user calls one: "TCP socket".
std::string family_name(const Socket& socket);
/// What a user calls a socket of a rarer kind: "packet socket".
std::string kind_for_people(int domain, int type, int protocol);

/// Makes all sockets of a program in the process being restored.
class SocketMaker {
 public:
  /// `directory`: the working directory of the program, for the names of local sockets. `apart`:
  /// the process that was saved still runs, and what is sent to its addresses is for that one.
  /// `peers` get the far ends of connections that led out; without it, these are cut.
  SocketMaker(RestoreContext& inferior, std::string directory, bool apart, SilentPeers* peers)
      : inferior_(inferior), directory_(std::move(directory)), apart_(apart), peers_(peers) {}

  void add(const Socket& socket, const std::string& object);
  /// Makes them; each then has a number. What cannot be made as it was is said in the notes.
  void make();
  /// The (temporary) number of a socket.
  [[nodiscard]] int number(std::uint64_t id) const { return made_.at(id).fd; }

  /// Puts back what waits to be received, and what else is to come last. `number_of`: of a
  /// description that is passed along.
  void fill(const std::function<int(std::size_t)>& number_of);

 private:
  struct Made {
    const Socket* socket = nullptr;
    std::string object;
    int fd = -1;
    int far_end = -1;  // of a dead one, open until its queue is filled
    std::string name;  // by which it can be connected to, if not by that of the socket
    bool is_stand_in = false;
  };

  void make_listening(Made& made);
  void make_pair(Made& one, Made& other);
  bool make_pair_by_listener(Made& client, Made& server);
  bool make_pair_by_closed_listener(Made& client, Made& server);
  void make_tcp_pair(Made& one, Made& other);
  void make_with_itself(Made& made);
  Made* listening_for(const Made& end);
  void note_moved(const Made& made);
  void make_waiting(Made& made);
  void make_plain(Made& made);
  std::array<int, 2> make_ends(const Socket& socket);
  void make_dead_local(Made& made);
  void make_dead(Made& made);
  std::string seen_from(const Made& made, const std::string& address);
  void await_error(int fd);
  void leave_far_end(Made& made);
  [[nodiscard]] bool becomes_silent(const Socket& socket) const;
  std::string peer_of(const Socket& socket);
  void find_taken();
  int create(Made& made);
  bool bind(Made& made, int fd, const std::string& address, bool must);
  void set_free(const Socket& socket, int fd, bool free);
  bool bind_name(Made& made, int fd, const std::string& address, bool must);
  void bind_packet(Made& made, int fd);
  bool bind_path(Made& made, int fd, const std::string& address);
  bool bind_apart(Made& made, int fd);
  std::int64_t bind_within(int fd, const std::string& address, const SocketStage& stage);
  std::string bind_for_file(const Made& made, int fd, const SocketStage& stage);
  bool may_replace(const Made& made, const std::string& path, const std::string& name);
  void give_file(const Made& made, const std::string& path);
  bool cannot_make(const Made& made, const std::string& path, const std::string& why);
  std::int64_t connect(int fd, const std::string& address);
  int accept(int fd);
  std::string name_of(int fd, int domain);
  void set_number(int fd, int name, int number);
  int option_value(int fd, int name);
  [[nodiscard]] const Made* find_sender(const Made& receiver, const SocketMessage& message) const;
  int make_sender(const Made& receiver, const std::string& name);
  void name_lost_senders(const Made& made);
  std::int64_t bind_sender(int fd, const std::string& name);
  void empty_queue(int fd);
  void fill_datagrams(Made& made, const std::function<int(std::size_t)>& number_of);
  struct Room {
    int bytes = 0;  // SO_SNDBUF
    int lock = -1;  // SO_BUF_LOCK
  };
  Room make_room(int fd);
  void take_room(int fd, const Room& before);
  std::int64_t send_piece(int from, std::string_view bytes, const std::string& to,
                          const std::string& control, bool urgent);
  int send_all(int from, const SocketMessage& message, const std::string& to, std::string control,
               bool in_pieces, std::size_t& done);
  void send(int from, const SocketMessage& message, const std::string& to,
            const std::function<int(std::size_t)>& number_of, const Made& receiver);
  Made* find(std::uint64_t id);
  void set_options_of(const Made& made, int fd, bool late);
  void note(const Made& made, const std::string& text) {
    inferior_.notes.push_back(made.object + ": " + text);
  }

  RestoreContext& inferior_;
  std::string directory_;
  bool apart_;
  SilentPeers* peers_;
  std::map<std::uint64_t, Made> made_;
  Senders senders_;
  std::vector<std::uint64_t> order_;
  std::set<std::string> taken_;               // addresses that another process has, too
  std::map<std::string, std::string> moved_;  // what the program's sockets have in their place
};

}  // namespace ckpt::state
