#include "state/sockets/socket_files.hpp"

#include <dirent.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

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

}  // namespace ckpt::state
