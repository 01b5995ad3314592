#include "state/descriptors/watched_file.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>

#include "base/io.hpp"
#include "proc/text.hpp"

namespace ckpt::state {

namespace {

namespace fs = std::filesystem;

bool is_target(const std::string& path, const WatchedInode& target) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && status.st_ino == target.inode &&
         status.st_dev == target.device;
}

// The names that a program is likely to know: of its directories and files and what is in them.
std::vector<std::string> likely_places(const CaptureContext& context) {
  std::vector<std::string> places = {"/"};
  std::set<std::string> known = {"/"};
  const auto add = [&](std::string path) {
    if (!path.starts_with('/') || path.starts_with("/proc/")) return;
    while (path.size() > 1) {
      if (known.insert(path).second) places.push_back(path);
      path.resize(std::max<std::size_t>(path.rfind('/'), 1));
    }
  };
  add(context.process.link("cwd").value_or("/"));
  add(context.process.link("exe").value_or("/"));
  for (const int fd : context.process.descriptors())
    add(context.process.link(fmt::format("fd/{}", fd)).value_or("/"));
  for (const std::string& text : context.process.strings("cmdline")) add(text);
  for (const std::string& text : context.process.strings("environ")) {
    const auto at = text.find('=');
    if (at != std::string::npos && text.find(':', at) == std::string::npos)
      add(text.substr(at + 1));
  }
  for (const char* usual : {"/tmp", "/etc", "/var", "/run", "/dev", "/dev/shm"}) add(usual);
  return places;
}

// In a sandbox files have the device of the overlay, and directories another number, too.
bool is_that_file(const WatchedFile& file, const struct stat& status) {
  if (status.st_dev == file.device) return status.st_ino == file.inode;
  struct statfs system {};
  return ::statfs(file.path.c_str(), &system) == 0 && system.f_type == OVERLAYFS_SUPER_MAGIC;
}

std::string from_hex(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    bytes += static_cast<char>(proc::parse_number<unsigned>(text.substr(i, 2), 16).value_or(0));
  return bytes;
}

}  // namespace

bool WatchedInode::take(std::string_view key, std::string_view value) {
  constexpr unsigned kMinorBits = 20;
  const auto number = proc::parse_number<std::uint64_t>(value, 16).value_or(0);
  if (key == "ino") {
    inode = number;
  } else if (key == "sdev") {
    device = gnu_dev_makedev(static_cast<unsigned>(number >> kMinorBits),
                             static_cast<unsigned>(number & ((1U << kMinorBits) - 1)));
  } else if (key == "fhandle-type") {
    handle_type = static_cast<int>(number);
  } else if (key == "f_handle") {
    handle = from_hex(value);
  } else {
    return false;
  }
  return true;
}

WatchedFiles::WatchedFiles(const CaptureContext& context)
    : context_(context), places_(likely_places(context)) {
  for (const int fd : context.process.descriptors()) {
    struct stat status {};
    if (::stat(context.process.path(fmt::format("fd/{}", fd)).c_str(), &status) == 0)
      descriptors_.emplace(std::pair(status.st_dev, status.st_ino), Open{fd, status.st_nlink == 0});
  }
}

std::optional<WatchedFile> WatchedFiles::find(const WatchedInode& target) {
  const auto open = descriptors_.find({target.device, target.inode});
  const bool is_removed = open != descriptors_.end() && open->second.removed;
  if (!is_removed) {
    auto path = name_by_handle(target);
    if (!path) path = name_by_search(target);
    if (path) return WatchedFile{*path, target.inode, target.device, -1};
  }
  if (open == descriptors_.end()) return std::nullopt;
  const int fd = open->second.fd;
  return WatchedFile{context_.process.link(fmt::format("fd/{}", fd)).value_or(""), target.inode,
                     target.device, fd};
}

// Only the privileged may open a file by its handle.
std::optional<std::string> WatchedFiles::name_by_handle(const WatchedInode& target) {
  std::vector<std::byte> room(sizeof(file_handle) + target.handle.size());
  auto* handle = reinterpret_cast<file_handle*>(room.data());
  handle->handle_bytes = static_cast<unsigned>(target.handle.size());
  handle->handle_type = target.handle_type;
  std::copy(target.handle.begin(), target.handle.end(),
            reinterpret_cast<char*>(room.data() + sizeof(file_handle)));
  for (const std::string& place : places_) {
    if (!may_open_handles_) break;
    struct stat status {};
    if (::stat(place.c_str(), &status) != 0 || status.st_dev != target.device) continue;
    const UniqueFd mount(::open(place.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!mount) continue;
    const UniqueFd file(::open_by_handle_at(mount.get(), handle, O_PATH | O_CLOEXEC));
    if (!file && errno == EPERM) may_open_handles_ = false;
    if (!file) continue;
    auto path = try_read_link(fmt::format("/proc/self/fd/{}", file.get()));
    if (path && is_target(*path, target)) return path;
  }
  return std::nullopt;
}

std::optional<std::string> WatchedFiles::name_by_search(const WatchedInode& target) {
  const auto [names, is_new] = names_.try_emplace(target.device);
  if (is_new) names->second = names_on(target.device);
  const auto found = names->second.find(target.inode);
  return found == names->second.end() ? std::nullopt : std::optional(found->second);
}

// The names in the likely places, themselves included, that are on a device.
WatchedFiles::Names WatchedFiles::names_on(dev_t device) const {
  constexpr std::size_t kMostEntries = 20'000;
  Names names;
  const auto add = [&](const std::string& path) {
    struct stat status {};
    const bool is_there = ::stat(path.c_str(), &status) == 0 && status.st_dev == device;
    if (is_there) names.emplace(status.st_ino, path);
    return is_there && S_ISDIR(status.st_mode);
  };
  std::vector<std::string> directories;
  for (const std::string& place : places_)
    if (add(place)) directories.push_back(place);
  std::size_t looked_at = 0;
  for (const std::string& directory : directories) {
    std::error_code unreadable;
    for (const auto& entry : fs::directory_iterator(directory, unreadable)) {
      if (++looked_at > kMostEntries) return names;
      add(entry.path().string());
    }
  }
  return names;
}

std::string inode_text(const WatchedInode& target) {
  return fmt::format("inode {} of device {}:{}", target.inode, gnu_dev_major(target.device),
                     gnu_dev_minor(target.device));
}

const image::Fields<WatchedFile>& fields_of(const WatchedFile* /*type*/) {
  using enum image::Presence;
  static const image::Fields<WatchedFile> fields = {
      "watched_file",
      {{"path", &WatchedFile::path, ""},
       {"inode", &WatchedFile::inode, ""},
       {"device", &WatchedFile::device, ""},
       {"fd", &WatchedFile::fd,
        "if the file has no name: the descriptor that the program has of it", unusual}}};
  return fields;
}

IsFile files_among(const DescriptorTable& table) {
  return [&table](int fd) {
    return std::any_of(
        table.descriptors.begin(), table.descriptors.end(), [&](const Descriptor& one) {
          return one.fd == fd && table.descriptions.at(one.description).kind->is_file;
        });
  };
}

std::optional<std::string> name_to_watch(const WatchedFile& file, const IsFile& is_file,
                                         const std::string& watch,
                                         std::vector<std::string>& notes) {
  if (file.fd >= 0) {
    if (is_file(file.fd)) return fmt::format("/proc/self/fd/{}", file.fd);
    return std::nullopt;
  }
  struct stat status {};
  if (::stat(file.path.c_str(), &status) == 0 && !is_that_file(file, status))
    notes.push_back(fmt::format("{}: {} is another file by now, which is watched in its place",
                                watch, file.path));
  return file.path;
}

}  // namespace ckpt::state
