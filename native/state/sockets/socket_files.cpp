#include "state/sockets/socket_files.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <system_error>
#include <vector>

#include "base/error.hpp"
#include "base/io.hpp"
#include "base/unique_fd.hpp"
#include "state/sockets/sockets.hpp"

namespace ckpt::state {

namespace {

constexpr unsigned long kOpenFile = SIOCPROTOPRIVATE;  // SIOCUNIXFILE, <linux/un.h>

using IsIt = std::function<bool(const struct stat&)>;

// sock_diag(7) tells 32 bits of an inode's number, and the device as the kernel has it. There are
// file systems (btrfs) that tell stat(2) another one.
bool has_inode(const struct stat& status, const LocalSocketInfo& info, bool of_any_device) {
  constexpr unsigned kMinorBits = 20;
  const unsigned device = (gnu_dev_major(status.st_dev) << kMinorBits) | minor(status.st_dev);
  const bool is_anonymous = gnu_dev_major(status.st_dev) == 0;
  return S_ISSOCK(status.st_mode) && info.file_inode != 0 &&
         static_cast<std::uint32_t>(status.st_ino) == info.file_inode &&
         (device == info.file_device || (is_anonymous && of_any_device));
}

bool is_there(const std::string& path, const IsIt& is_it, struct stat& status) {
  return ::lstat(path.c_str(), &status) == 0 && is_it(status);
}

std::string name_in(const std::string& directory, const IsIt& is_it, struct stat& status) {
  const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(directory.c_str()), &::closedir);
  if (!open) return "";
  while (const dirent* entry = ::readdir(open.get()))
    if ((entry->d_type == DT_SOCK || entry->d_type == DT_UNKNOWN) &&
        is_there(directory + "/" + entry->d_name, is_it, status))
      return entry->d_name;
  return "";
}

std::string value_in_environment(const proc::ProcessDir& process, const std::string& start) {
  const std::string all = '\0' + try_read_file(process.path("environ")).value_or("");
  const auto at = all.find('\0' + start);
  return at == std::string::npos ? "" : all.c_str() + at + 1 + start.size();
}

// Where a program may have been when it bound a socket: it mostly has gone up since, or into a
// directory beside.
std::vector<std::string> likely_directories(const proc::ProcessDir& process) {
  namespace fs = std::filesystem;
  const fs::path here(process.link("cwd").value_or("/"));
  std::vector<std::string> likely = {value_in_environment(process, "PWD=")};
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(here, none))
    if (entry.is_directory(none)) likely.push_back(entry.path().string());
  for (fs::path above = here; above.has_relative_path(); above = above.parent_path())
    likely.push_back(above.parent_path().string());
  std::erase_if(likely, [](const std::string& one) { return !one.starts_with('/'); });
  return likely;
}

// Empty if it is in none of the places where it is looked for.
std::string find_elsewhere(const proc::ProcessDir& process, const std::string& name,
                           const IsIt& is_it, struct stat& status) {
  const bool is_relative = !name.starts_with('/');
  std::vector<std::string> places = {is_relative ? process.link("cwd").value_or("") + "/" + name
                                                 : name};
  if (is_relative)
    for (const std::string& directory : likely_directories(process))
      places.push_back((directory == "/" ? "" : directory) + "/" + name);
  const std::string root = process.path("root");
  for (const std::string& place : places)
    if (is_there(root + place, is_it, status)) return place;
  // Renamed.
  for (const std::string& place : places) {
    const std::string directory = place.substr(0, place.rfind('/'));
    const std::string found = name_in(root + directory, is_it, status);
    if (!found.empty()) return fmt::format("{}/{}", directory, found);
  }
  return "";
}

void take_status(SocketFile& file, const struct stat& status) {
  file.mode = status.st_mode & 07777U;
  file.owner = status.st_uid;
  file.group = status.st_gid;
  file.names = status.st_nlink;
}

}  // namespace

SocketFile find_socket_file(const proc::ProcessDir& process, int own, const std::string& name,
                            const LocalSocketInfo& info) {
  SocketFile file;
  struct stat status {};
  struct stat real {};
  // Only those who may administrate the network are given it.
  const UniqueFd open(::ioctl(own, kOpenFile));
  const bool is_known = open && ::fstat(open.get(), &real) == 0;
  const auto is_it = [&](const struct stat& one) {
    return is_known ? one.st_ino == real.st_ino && one.st_dev == real.st_dev
                    : has_inode(one, info, false);
  };
  const auto is_it_by_name = [&](const struct stat& one) {
    return is_it(one) || (!is_known && has_inode(one, info, true));
  };
  const std::string at = process.path(name.starts_with('/') ? "root" : "cwd/") + name;
  if (is_there(at, is_it_by_name, status)) {
    take_status(file, status);
    return file;
  }
  file.is_none = true;
  if (is_known && real.st_nlink == 0) return file;
  if (is_known) file.path = try_read_link(fmt::format("/proc/self/fd/{}", open.get())).value_or("");
  if (file.path.empty() || !is_there(file.path, is_it, status))
    file.path = find_elsewhere(process, name, is_it, status);
  file.is_none = file.path.empty();
  file.is_lost = file.is_none;
  if (!file.is_none) take_status(file, status);
  return file;
}

bool is_socket_file_in_use(const std::string& path, const std::string& name) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return false;
  const auto all = all_local_sockets();
  if (all.empty()) return is_local_name_in_use(name);
  return std::any_of(all.begin(), all.end(),
                     [&](const LocalSocketInfo& one) { return has_inode(status, one, true); });
}

SocketStage::SocketStage(const std::string& within, const std::string& name)
    : directory_(within + "/.ckpt-XXXXXX") {
  if (::mkdtemp(directory_.data()) == nullptr)
    throw_errno(fmt::format("make a directory in {}", within), errno);
  namespace fs = std::filesystem;
  const fs::path path(name);
  fs::path at(directory_);
  // Room to go up from.
  if (path.is_relative())
    for (const fs::path& part : path)
      if (part == "..") at /= "up";
  std::error_code failed;
  fs::create_directories(at, failed);
  start_ = at.string();
  for (const fs::path& part : path.relative_path().parent_path()) {
    if (part == "..")
      at = at == fs::path(directory_) ? at : at.parent_path();
    else if (!part.empty() && part != ".")
      at /= part;
    fs::create_directories(at, failed);
  }
  file_ = (at / path.filename()).string();
}

SocketStage::~SocketStage() {
  std::error_code failed;
  std::filesystem::remove_all(directory_, failed);
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
  note(made, fmt::format("{} cannot be made again ({}): nobody can connect to the program's socket",
                         path, why));
  return false;
}

// One that another socket stands behind stays; one that nothing stands behind any more is what the
// program itself has left.
bool SocketMaker::may_replace(const Made& made, const std::string& path, const std::string& name) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return true;
  if (!S_ISSOCK(status.st_mode)) {
    note(made, fmt::format("{} is no socket any more: nobody can connect to the program's", path));
    return false;
  }
  if (!is_socket_file_in_use(path, name)) return true;
  note(made,
       fmt::format("another process uses {}: nobody can connect to the program's socket", path));
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
  const Addr at = calls_.put(std::string_view(address));
  const std::int64_t result = calls_.attempt(SYS_bind, {word(fd), at.value, address.size()});
  if (result != 0) return cannot_make(made, path, describe_errno(static_cast<int>(-result)));
  give_file(made, path);
  return true;
}

// By its name, from a working directory, or a root, of the moment.
std::int64_t SocketMaker::bind_within(int fd, const std::string& address,
                                      const SocketStage& stage) {
  constexpr std::uint64_t kPlace = O_PATH | O_DIRECTORY;
  const auto open_place = [&](const char* path) {
    return calls_.open("open", SYS_openat, {word(AT_FDCWD), calls_.put_string(path).value, kPlace});
  };
  const int here = open_place(".");
  const int root = open_place("/");
  const long enter = is_absolute(address) ? SYS_chroot : SYS_chdir;
  std::int64_t result = calls_.attempt(enter, {calls_.put_string(stage.start()).value});
  if (result == 0) {
    const Addr at = calls_.put(std::string_view(address));
    result = calls_.attempt(SYS_bind, {word(fd), at.value, address.size()});
    if (enter == SYS_chroot) {
      calls_.call("fchdir", SYS_fchdir, {word(root)});
      calls_.call("chroot", SYS_chroot, {calls_.put_string(".").value});
    }
    calls_.call("fchdir", SYS_fchdir, {word(here)});
  }
  calls_.close(here);
  calls_.close(root);
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
    const Addr at = calls_.put(std::string_view(address));
    result = calls_.attempt(SYS_bind, {word(fd), at.value, address.size()});
  }
  if (result == 0) return path;
  cannot_make(made, path, describe_errno(static_cast<int>(-result)));
  return "";
}

// Its name leads to where its file is not. What is connected with it finds it by the file itself.
bool SocketMaker::bind_apart(Made& made, int fd) {
  const Socket& socket = *made.socket;
  const std::string name = address_text(socket.name);
  const bool is_somewhere = !socket.place.empty() && !socket.no_file;
  if (is_somewhere && !may_replace(made, socket.place, name)) return false;
  try {
    const std::string within = is_somewhere ? socket.place.substr(0, socket.place.rfind('/'))
                                            : std::filesystem::temp_directory_path().string();
    const SocketStage stage(within, name);
    const std::string path = bind_for_file(made, fd, stage);
    if (path.empty()) return false;
    const int file =
        calls_.open("open", SYS_openat, {word(AT_FDCWD), calls_.put_string(path).value, O_PATH});
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

}  // namespace ckpt::state
