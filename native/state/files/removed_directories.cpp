#include "state/files/removed_directories.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "base/error.hpp"
#include "base/io.hpp"

namespace ckpt::state {

namespace {

constexpr std::uint32_t kModeBits = 07777;

// It has a name for a moment only, so that whatever happens to the restore leaves none behind.
UniqueFd make_removed(const RemovedDirectory& directory) {
  std::string path = (std::filesystem::temp_directory_path() / "ckpt-XXXXXX").string();
  if (::mkdtemp(path.data()) == nullptr)
    throw_errno("make a directory in place of a removed one", errno);
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const int error_number = errno;
  ::rmdir(path.c_str());
  if (!fd) throw_errno(fmt::format("open {}", path), error_number);
  ::fchmod(fd.get(), directory.mode & kModeBits);
  return fd;
}

}  // namespace

RemovedDirectory describe_removed_directory(const struct stat& status) {
  return {status.st_dev, status.st_ino, status.st_mode & kModeBits};
}

image::Json removed_directory_to_json(const RemovedDirectory& directory) {
  return {{"device", directory.device}, {"inode", directory.inode}, {"mode", directory.mode}};
}

RemovedDirectory removed_directory_from_json(const image::Json& json) {
  return {json.at("device"), json.at("inode"), json.at("mode")};
}

UniqueFd RemovedDirectories::open(const RemovedDirectory& directory, int flags) {
  auto known = made_.find(directory);
  if (known == made_.end()) known = made_.emplace(directory, make_removed(directory)).first;
  const std::string path = fmt::format("/proc/self/fd/{}", known->second.get());
  return open_file(path, flags & ~(O_NOFOLLOW | O_CREAT | O_EXCL));
}

}  // namespace ckpt::state
