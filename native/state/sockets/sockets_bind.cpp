// Restore of the names of sockets; see sockets.hpp.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/error.hpp"
#include "state/sockets/packet_sockets.hpp"
#include "state/sockets/sock_diag.hpp"
#include "state/sockets/socket_addresses.hpp"
#include "state/sockets/socket_files.hpp"
#include "state/sockets/sockets.hpp"

namespace ckpt::state {

namespace {

// Whether it would get its address although another process has it, and some of what is sent there.
bool would_share(const Socket& socket) {
  return (socket.domain == AF_INET || socket.domain == AF_INET6) &&
         (is_on(socket, SOL_SOCKET, SO_REUSEPORT) ||
          (!is_tcp(socket) && is_on(socket, SOL_SOCKET, SO_REUSEADDR)));
}

}  // namespace

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
    const auto at = inferior_.put(std::string_view(socket.name));
    if (inferior_.attempt(SYS_bind, {fd, at, socket.name.size()}) == -EADDRINUSE)
      taken_.insert(socket.name);
    inferior_.attempt(SYS_close, {fd});
  }
}

namespace {

bool is_absolute(const std::string& address) { return address_text(address).starts_with('/'); }

// A path that leads to the file of a descriptor, also one that has no name.
std::string path_address(int fd) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = fmt::format("/proc/self/fd/{}", fd);
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return {reinterpret_cast<const char*>(&address), sizeof address};
}

}  // namespace

bool SocketMaker::cannot_make(const Made& made, const std::string& path, const std::string& why) {
  note(made,
       fmt::format("{} cannot be made again ({}): the program's socket cannot be connected to",
                   path, why));
  return false;
}

// One that another socket stands behind stays; one that nothing stands behind any more is what the
// program itself has left.
bool SocketMaker::may_replace(const Made& made, const std::string& path, const std::string& name) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return true;
  if (!S_ISSOCK(status.st_mode)) {
    note(made, fmt::format("{} is no socket any more: the program's cannot be connected to", path));
    return false;
  }
  if (!is_socket_file_in_use(path, name)) return true;
  note(made,
       fmt::format("another process uses {}: the program's socket cannot be connected to", path));
  return false;
}

void SocketMaker::give_file(const Made& made, const std::string& path) {
  const Socket& socket = *made.socket;
  struct stat status {};
  const bool is_other = ::lstat(path.c_str(), &status) == 0 && socket.path_owner >= 0 &&
                        (status.st_uid != socket.path_owner || status.st_gid != socket.path_group);
  if (is_other && ::lchown(path.c_str(), static_cast<uid_t>(socket.path_owner),
                           static_cast<gid_t>(socket.path_group)) != 0)
    note(made, fmt::format("{} cannot be given to user {} and group {}, as it was", path,
                           socket.path_owner, socket.path_group));
  ::chmod(path.c_str(), socket.path_mode);
}

// The name of a local socket is a file.
bool SocketMaker::bind_path(Made& made, int fd, const std::string& address) {
  if (made.socket->no_file || !made.socket->place.empty()) return bind_apart(made, fd);
  const std::string name = address_text(address);
  const std::string path = name.starts_with('/') ? name : directory_ + "/" + name;
  if (!may_replace(made, path, name)) return false;
  ::unlink(path.c_str());
  const auto at = inferior_.put(std::string_view(address));
  const std::int64_t result = inferior_.attempt(SYS_bind, {fd, at, address.size()});
  if (result != 0) return cannot_make(made, path, describe_errno(static_cast<int>(-result)));
  give_file(made, path);
  return true;
}

// By its name, from a working directory, or a root, of the moment.
std::int64_t SocketMaker::bind_within(int fd, const std::string& address,
                                      const SocketStage& stage) {
  constexpr std::uint64_t kPlace = O_PATH | O_DIRECTORY;
  const auto open_place = [&](const char* path) {
    return inferior_.open("open", SYS_openat, {AT_FDCWD, inferior_.put_string(path), kPlace});
  };
  const int here = open_place(".");
  const int root = open_place("/");
  const long enter = is_absolute(address) ? SYS_chroot : SYS_chdir;
  std::int64_t result = inferior_.attempt(enter, {inferior_.put_string(stage.start())});
  if (result == 0) {
    const auto at = inferior_.put(std::string_view(address));
    result = inferior_.attempt(SYS_bind, {fd, at, address.size()});
    if (enter == SYS_chroot) {
      inferior_.call("fchdir", SYS_fchdir, {root});
      inferior_.call("chroot", SYS_chroot, {inferior_.put_string(".")});
    }
    inferior_.call("fchdir", SYS_fchdir, {here});
  }
  inferior_.close(here);
  inferior_.close(root);
  return result;
}

// Returns where its file is then; empty if it has got none. Without the privilege for a root of its
// own it may be at its name for a moment, if nothing is there.
std::string SocketMaker::bind_for_file(const Made& made, int fd, const SocketStage& stage) {
  const std::string& address = made.socket->name;
  std::string path = stage.file();
  std::int64_t result = bind_within(fd, address, stage);
  if (result == -EPERM && is_absolute(address)) {
    path = address_text(address);
    const auto at = inferior_.put(std::string_view(address));
    result = inferior_.attempt(SYS_bind, {fd, at, address.size()});
  }
  if (result == 0) return path;
  cannot_make(made, path, describe_errno(static_cast<int>(-result)));
  return "";
}

// Its name leads to where its file is not. What is connected with it finds it by the file itself.
bool SocketMaker::bind_apart(Made& made, int fd) {
  const Socket& socket = *made.socket;
  const std::string name = address_text(socket.name);
  if (name.empty()) return false;
  const bool is_somewhere = !socket.place.empty() && !socket.no_file;
  if (is_somewhere && !may_replace(made, socket.place, name)) return false;
  try {
    const std::string within = is_somewhere ? socket.place.substr(0, socket.place.rfind('/'))
                                            : std::filesystem::temp_directory_path().string();
    const SocketStage stage(within, name);
    const std::string path = bind_for_file(made, fd, stage);
    if (path.empty()) return false;
    const int file =
        inferior_.open("open", SYS_openat, {AT_FDCWD, inferior_.put_string(path), O_PATH});
    made.name = path_address(file);
    if (!is_somewhere) return ::unlink(path.c_str()) == 0;
    give_file(made, path);
    if (::rename(path.c_str(), socket.place.c_str()) == 0) return true;
    const int why = errno;
    ::unlink(path.c_str());
    return cannot_make(made, socket.place, describe_errno(why));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::system) throw;
    return cannot_make(made, is_somewhere ? socket.place : name, error.what());
  }
}

void SocketMaker::set_free(const Socket& socket, int fd, bool free) {
  const auto value = inferior_.put_value(static_cast<int>(free));
  const bool six = socket.domain == AF_INET6;
  inferior_.attempt(SYS_setsockopt, {fd, six ? IPPROTO_IPV6 : IPPROTO_IP,
                                     six ? IPV6_FREEBIND : IP_FREEBIND, value, sizeof(int)});
}

// An address of a network, or an abstract name.
bool SocketMaker::bind_name(Made& made, int fd, const std::string& address, bool must) {
  const Socket& socket = *made.socket;
  // Connections of the program that are still closing keep the port otherwise.
  if (is_tcp(socket)) set_number(fd, SO_REUSEADDR, 1);
  const auto try_to_bind = [&](const std::string& name) {
    const auto at = inferior_.put(std::string_view(name));
    return inferior_.attempt(SYS_bind, {fd, at, name.size()});
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
  const auto at = inferior_.put(std::string_view(address));
  const std::int64_t result =
      address.empty() ? -ENODEV : inferior_.attempt(SYS_bind, {fd, at, address.size()});
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
    const auto at = inferior_.put(std::string_view(any));
    inferior_.attempt(SYS_bind, {fd, at, any.size()});
  }
  return bound;
}

}  // namespace ckpt::state
