#include "state/files/removed_entries.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "base/error.hpp"
#include "base/io.hpp"
#include "state/files/stateless_devices.hpp"

namespace ckpt::state {

namespace {

constexpr std::uint32_t kPermissions = 0777;
constexpr std::uint32_t kDirectoryBits = 07777;  // set-group-id is harmless there
constexpr std::string_view kDeleted = " (deleted)";

// False, with errno, if there is something of that name, or it may not be made there.
bool make_at(const RemovedEntry& entry, const std::string& path) {
  if (S_ISDIR(entry.mode)) return ::mkdir(path.c_str(), S_IRWXU) == 0;
  if (S_ISLNK(entry.mode)) return ::symlink(entry.target.c_str(), path.c_str()) == 0;
  return ::mknod(path.c_str(), entry.mode & (S_IFMT | kPermissions), entry.number) == 0;
}

void remove_from(const RemovedEntry& entry, const std::string& path) {
  if (S_ISDIR(entry.mode))
    ::rmdir(path.c_str());
  else
    ::unlink(path.c_str());
}

// The descriptor is for the name alone: to open a device could do something.
void look_as_before(const RemovedEntry& entry, int fd) {
  if (entry.uid >= 0 && entry.gid >= 0)
    ::fchownat(fd, "", static_cast<uid_t>(entry.uid), static_cast<gid_t>(entry.gid),
               AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
  if (S_ISLNK(entry.mode)) return;
  const std::uint32_t bits = S_ISDIR(entry.mode) ? kDirectoryBits : kPermissions;
  ::chmod(fmt::format("/proc/self/fd/{}", fd).c_str(), entry.mode & bits);
}

UniqueFd take_from(const RemovedEntry& entry, const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  const int error_number = errno;
  remove_from(entry, path);
  if (!fd) throw_errno(fmt::format("open {}", path), error_number);
  look_as_before(entry, fd.get());
  return fd;
}

// It has a name for a moment only, so that whatever happens to the restore leaves none behind.
UniqueFd make_removed(const RemovedEntry& entry, const std::string& path) {
  std::string place = path;
  if (place.ends_with(kDeleted)) place.resize(place.size() - kDeleted.size());
  if (place.starts_with('/') && make_at(entry, place)) return take_from(entry, place);
  std::string directory = (std::filesystem::temp_directory_path() / "ckpt-XXXXXX").string();
  if (::mkdtemp(directory.data()) == nullptr)
    throw_errno("make a directory for what has been removed", errno);
  place = directory + "/removed";
  const bool made = make_at(entry, place);
  const int error_number = errno;
  UniqueFd fd;
  if (made) fd = take_from(entry, place);
  ::rmdir(directory.c_str());
  if (!made) throw_errno(fmt::format("make {}", place), error_number);
  return fd;
}

}  // namespace

RemovedEntry describe_removed_entry(const struct stat& status) {
  return {status.st_dev,
          status.st_ino,
          status.st_mode,
          status.st_uid,
          status.st_gid,
          status.st_rdev,
          ""};
}

std::optional<RemovedEntry> describe_removed_link(const struct stat& status, int own) {
  RemovedEntry entry = describe_removed_entry(status);
  std::array<char, PATH_MAX> target{};
  const ssize_t bytes = ::readlinkat(own, "", target.data(), target.size());
  if (bytes <= 0 || bytes == PATH_MAX) return std::nullopt;
  entry.target.assign(target.data(), static_cast<std::size_t>(bytes));
  return entry;
}

namespace {

void check_entry(RemovedEntry& entry) {
  // Earlier versions know directories only, and leave their type out.
  if ((entry.mode & S_IFMT) == 0) entry.mode |= S_IFDIR;
  // A privileged restore makes no way to other devices for a program that may have less rights.
  const bool other_device =
      S_ISBLK(entry.mode) || (S_ISCHR(entry.mode) && stateless_device(entry.number) == nullptr);
  if (S_ISREG(entry.mode) || other_device || entry.target.size() >= PATH_MAX)
    image::damaged("what has been removed");
}

}  // namespace

const image::Fields<RemovedEntry>& fields_of(const RemovedEntry* /*type*/) {
  using enum image::Presence;
  using E = RemovedEntry;
  static const image::Fields<E> fields = {
      "removed_entry",
      {{"device", &E::device, "with `inode`: which of several"},
       {"inode", &E::inode, ""},
       {"mode", &E::mode, "with the type; in older files without, of a directory"},
       {"uid", &E::uid, "-1: not known", later},
       {"gid", &E::gid, "-1: not known", later},
       {"number", &E::number, "of a device", later},
       {"target", &E::target, "of a symbolic link", later}},
      check_entry};
  return fields;
}

UniqueFd RemovedEntries::open(const RemovedEntry& entry, const std::string& path, int flags) {
  auto known = made_.find(entry);
  if (known == made_.end()) known = made_.emplace(entry, make_removed(entry, path)).first;
  const int fd = known->second.get();
  if (!S_ISLNK(entry.mode))
    return open_file(fmt::format("/proc/self/fd/{}", fd), flags & ~(O_NOFOLLOW | O_CREAT | O_EXCL));
  UniqueFd duplicate(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!duplicate) throw_errno("duplicate a descriptor", errno);
  return duplicate;
}

}  // namespace ckpt::state
