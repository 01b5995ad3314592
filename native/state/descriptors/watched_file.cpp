#include "state/descriptors/watched_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <filesystem>

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

// Only the privileged may open a file by its handle.
std::optional<std::string> name_by_handle(const WatchedInode& target,
                                          const std::vector<std::string>& places) {
  std::vector<std::byte> room(sizeof(file_handle) + target.handle.size());
  auto* handle = reinterpret_cast<file_handle*>(room.data());
  handle->handle_bytes = static_cast<unsigned>(target.handle.size());
  handle->handle_type = target.handle_type;
  std::copy(target.handle.begin(), target.handle.end(),
            reinterpret_cast<char*>(room.data() + sizeof(file_handle)));
  for (const std::string& place : places) {
    struct stat status {};
    if (::stat(place.c_str(), &status) != 0 || status.st_dev != target.device) continue;
    const UniqueFd mount(::open(place.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!mount) continue;
    const UniqueFd file(::open_by_handle_at(mount.get(), handle, O_PATH | O_CLOEXEC));
    if (!file) continue;
    auto path = try_read_link(fmt::format("/proc/self/fd/{}", file.get()));
    if (path && is_target(*path, target)) return path;
  }
  return std::nullopt;
}

std::optional<std::string> name_by_search(const WatchedInode& target,
                                          const std::vector<std::string>& places) {
  constexpr std::size_t kMostEntries = 20'000;
  for (const std::string& place : places)
    if (is_target(place, target)) return place;
  std::size_t looked_at = 0;
  for (const std::string& place : places) {
    struct stat status {};
    if (::stat(place.c_str(), &status) != 0 || status.st_dev != target.device ||
        !S_ISDIR(status.st_mode))
      continue;
    std::error_code unreadable;
    for (const auto& entry : fs::directory_iterator(place, unreadable)) {
      if (++looked_at > kMostEntries) return std::nullopt;
      if (is_target(entry.path().string(), target)) return entry.path().string();
    }
  }
  return std::nullopt;
}

// The lowest descriptor of that file. `removed`: only if the file has no name at all.
std::optional<int> descriptor_of(const CaptureContext& context, const WatchedInode& target,
                                 bool removed) {
  for (const int fd : context.process.descriptors()) {
    struct stat status {};
    if (::stat(context.process.path(fmt::format("fd/{}", fd)).c_str(), &status) == 0 &&
        status.st_ino == target.inode && status.st_dev == target.device &&
        (!removed || status.st_nlink == 0))
      return fd;
  }
  return std::nullopt;
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

std::vector<std::string> likely_places(const CaptureContext& context) {
  std::vector<std::string> places = {"/"};
  const auto add = [&](std::string path) {
    if (!path.starts_with('/') || path.starts_with("/proc/")) return;
    while (path.size() > 1) {
      if (std::find(places.begin(), places.end(), path) == places.end()) places.push_back(path);
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

std::optional<WatchedFile> find_watched_file(const CaptureContext& context,
                                             const std::vector<std::string>& places,
                                             const WatchedInode& target) {
  auto fd = descriptor_of(context, target, true);
  if (!fd) {
    auto path = name_by_handle(target, places);
    if (!path) path = name_by_search(target, places);
    if (path) {
      return WatchedFile{*path, target.inode, target.device, -1};
    }
    fd = descriptor_of(context, target, false);
  }
  if (!fd) return std::nullopt;
  return WatchedFile{context.process.link(fmt::format("fd/{}", *fd)).value_or(""), target.inode,
                     target.device, *fd};
}

std::string inode_text(const WatchedInode& target) {
  return fmt::format("inode {} of device {}:{}", target.inode, gnu_dev_major(target.device),
                     gnu_dev_minor(target.device));
}

void add_watched_file(image::Json& json, const WatchedFile& file) {
  json["path"] = file.path;
  json["inode"] = file.inode;
  json["device"] = file.device;
  if (file.fd >= 0) json["fd"] = file.fd;
}

WatchedFile watched_file_from_json(const image::Json& json) {
  return {json.at("path"), json.at("inode"), json.at("device"), json.value("fd", -1)};
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
  if (::stat(file.path.c_str(), &status) == 0 &&
      (status.st_ino != file.inode || status.st_dev != file.device))
    notes.push_back(fmt::format("{}: {} is another file by now, which is watched in its place",
                                watch, file.path));
  return file.path;
}

}  // namespace ckpt::state
