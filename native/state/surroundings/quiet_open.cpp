#include "state/surroundings/quiet_open.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string_view>

#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/text.hpp"

namespace ckpt::state {

namespace {

constexpr std::string_view kDeleted = " (deleted)";

// "5: LEASE  ACTIVE    WRITE 1234 fe:00:10952917 0 EOF", for each lease that its holder has not
// been asked yet to give up. Those of processes that this system's /proc does not show are not
// seen.
bool has_write_lease(const struct stat& status) {
  const std::string file = fmt::format("{:02x}:{:02x}:{}", gnu_dev_major(status.st_dev),
                                       gnu_dev_minor(status.st_dev), status.st_ino);
  const auto text = try_read_file("/proc/locks");
  if (!text || text->find("LEASE") == std::string::npos) return false;
  for (std::string_view rest = *text; !rest.empty();) {
    std::string_view line = proc::cut(rest, '\n');
    proc::next_word(line);
    if (proc::next_word(line) != "LEASE") continue;
    proc::next_word(line);
    const bool write = proc::next_word(line) == "WRITE";
    proc::next_word(line);
    if (write && proc::next_word(line) == file) return true;
  }
  return false;
}

bool is_at(const struct stat& status, const std::string& path) {
  struct stat found {};
  return ::lstat(path.c_str(), &found) == 0 && found.st_dev == status.st_dev &&
         found.st_ino == status.st_ino;
}

}  // namespace

UniqueFd open_quietly(const std::string& path) {
  const UniqueFd place(::open(path.c_str(), O_PATH | O_CLOEXEC));
  struct stat status {};
  if (!place || ::fstat(place.get(), &status) != 0) return {};
  if (has_write_lease(status)) {
    errno = EBUSY;
    return {};
  }
  const std::string same = fmt::format("/proc/self/fd/{}", place.get());
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  UniqueFd fd(::open(same.c_str(), kFlags | O_NOATIME));
  if (!fd && errno == EPERM) fd.reset(::open(same.c_str(), kFlags));  // another user's
  return fd;
}

std::optional<std::string> name_beside(const std::string& path, ino_t inode) {
  constexpr int kMostEntries = 100'000;
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(directory.c_str()), &::closedir);
  if (!entries) return std::nullopt;
  for (int i = 0; i < kMostEntries; ++i) {
    const dirent* entry = ::readdir(entries.get());
    if (entry == nullptr) break;
    if (entry->d_ino == inode) return directory + static_cast<const char*>(entry->d_name);
  }
  return std::nullopt;
}

FileName name_of(const struct stat& status, const std::string& shown) {
  if (!shown.ends_with(kDeleted)) return {shown, false};
  if (status.st_nlink != 0 && is_at(status, shown)) return {shown, false};
  const std::string opened = shown.substr(0, shown.size() - kDeleted.size());
  if (status.st_nlink == 0) return {opened, true};
  const auto other = name_beside(opened, status.st_ino);
  if (other && is_at(status, *other)) return {*other, false};
  return {opened, true};
}

}  // namespace ckpt::state
