#include "store/directory.hpp"

#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "base/error.hpp"

namespace ckpt::store {

namespace fs = std::filesystem;

namespace {

/// What a new store has.
std::vector<std::string> parts_of(const Layout& layout) {
  return {layout.snapshots(), layout.objects(), layout.index(),
          layout.external(),  layout.debug(),   layout.scratch()};
}

// NOLINTBEGIN(concurrency-mt-unsafe): no other thread changes the environment or looks up users
// meanwhile
std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string home_directory() {
  if (std::string home = variable("HOME"); !home.empty()) return home;
  const passwd* user = ::getpwuid(::geteuid());
  return user == nullptr || user->pw_dir == nullptr ? "" : user->pw_dir;
}

/// A "~" or "~USER" in front is what it is to a shell, which has not seen a variable's value.
std::string with_home(const std::string& path) {
  if (!path.starts_with('~')) return path;
  const std::size_t end = std::min(path.find('/'), path.size());
  const std::string user = path.substr(1, end - 1);
  std::string home;
  if (user.empty())
    home = home_directory();
  else if (const passwd* entry = ::getpwnam(user.c_str()); entry != nullptr)
    home = entry->pw_dir;
  return home.empty() ? path : home + path.substr(end);
}
// NOLINTEND(concurrency-mt-unsafe)

void check_owned(const std::string& path, const struct stat& status) {
  if (!S_ISDIR(status.st_mode)) fail(ErrorKind::refused, "the store {} is not a directory", path);
  if (status.st_uid != ::geteuid())
    fail(ErrorKind::refused,
         "the store {} belongs to another user (uid {}): choose a directory of your own", path,
         status.st_uid);
  if ((status.st_mode & 022U) != 0)
    fail(ErrorKind::refused, "the store {} can be written by others: refused (chmod go-w \"{}\")",
         path, path);
}

void make_one(const std::string& root, const std::string& path) {
  // The mode is given at creation, so that there is no moment in which others could look in.
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    throw_errno(fmt::format("the store {}: create {}", root, path), errno);
}

/// The directory and those above it.
void make_with_parents(const std::string& root) {
  for (std::size_t at = root.find('/', 1); at != std::string::npos; at = root.find('/', at + 1)) {
    const std::string parent = root.substr(0, at);
    if (::access(parent.c_str(), F_OK) != 0) make_one(root, parent);
  }
  make_one(root, root);
}

UniqueFd locked(const std::string& root, int how, const std::function<void()>& on_signal) {
  UniqueFd directory(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return directory;
  while (::flock(directory.get(), how) != 0) {
    if (errno == EWOULDBLOCK) return {};
    if (errno != EINTR) throw_errno(fmt::format("lock the store {}", root), errno);
    if (on_signal) on_signal();
  }
  return directory;
}

}  // namespace

std::string Layout::snapshot(const std::string& name) const {
  return fmt::format("{}/{}{}", snapshots(), name, kSuffix);
}

bool Layout::holds(const std::string& image_path) const {
  std::error_code other;
  const auto directory = fs::absolute(image_path, other).lexically_normal().parent_path();
  return fs::equivalent(directory, snapshots(), other);
}

std::string Layout::group(const std::string& hash) const {
  return fmt::format("{}/{}", objects(), hash.substr(0, 2));
}

std::string Layout::contents(const std::string& hash) const {
  return fmt::format("{}/{}", group(hash), hash);
}

std::optional<std::string> Layout::object(const std::string& hash, const std::string& name) const {
  if (!is_hash(hash) || name.empty() || name == "." || name == ".." ||
      name.find('/') != std::string::npos || name.find('\0') != std::string::npos)
    return std::nullopt;
  return fmt::format("{}/{}", contents(hash), name);
}

bool is_hash(const std::string& text) {
  constexpr std::size_t kHashDigits = 32;
  return text.size() == kHashDigits &&
         text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::string snapshot_name(const std::string& file_name) {
  if (!file_name.ends_with(kSuffix)) return "";
  return file_name.substr(0, file_name.size() - kSuffix.size());
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code failed;
  fs::directory_iterator entries(directory, failed);
  for (; !failed && entries != fs::directory_iterator(); entries.increment(failed))
    names.push_back(entries->path().filename());
  if (failed && failed != std::errc::no_such_file_or_directory)
    throw_errno(fmt::format("the store: read {}", directory), failed.value());
  std::sort(names.begin(), names.end());
  return names;
}

std::string default_directory() {
  if (const std::string own = with_home(variable("CKPT_DIR")); !own.empty()) {
    std::error_code nowhere;
    const fs::path path = fs::absolute(own, nowhere);
    return nowhere ? own : path.string();
  }
  // The XDG specification wants relative paths in its variables ignored.
  if (const std::string data = variable("XDG_DATA_HOME"); data.starts_with('/'))
    return data + "/ckpt";
  const std::string home = home_directory();
  if (home.empty()) fail(ErrorKind::usage, "no store: neither CKPT_DIR nor HOME is set");
  return home + "/.local/share/ckpt";
}

bool check_directory(const std::string& root) {
  struct stat status {};
  if (::stat(root.c_str(), &status) != 0) {
    if (errno == ENOENT) return false;
    throw_errno(fmt::format("the store {}", root), errno);
  }
  check_owned(root, status);
  const Layout layout{root};
  std::vector<std::string> parts = parts_of(layout);
  parts.push_back(layout.sessions());
  parts.push_back(layout.imported());
  for (const std::string& path : parts)
    if (::stat(path.c_str(), &status) == 0) check_owned(path, status);
  return true;
}

void create_directory(const std::string& root) {
  if (!check_directory(root)) make_with_parents(root);
  const Layout layout{root};
  for (const std::string& path : parts_of(layout)) make_one(root, path);
  check_directory(root);
  for (const std::string& path : {layout.snapshots(), layout.objects()})
    // With the effective rights: a read-only file system says no to root as well.
    if (::faccessat(AT_FDCWD, path.c_str(), W_OK | X_OK, AT_EACCESS) != 0)
      fail(ErrorKind::refused, "the store {} cannot be written to", root);
}

std::string make_place(const std::string& root, const std::string& hash, const std::string& name) {
  const Layout layout{root};
  auto path = layout.object(hash, name);
  if (!path) fail(ErrorKind::usage, "{}/{}: not the name of an object", hash, name);
  make_one(root, layout.group(hash));
  make_one(root, layout.contents(hash));
  return *path;
}

UniqueFd hold(const std::string& root, const std::function<void()>& on_signal) {
  return locked(root, LOCK_SH, on_signal);
}

UniqueFd hold_alone(const std::string& root) { return locked(root, LOCK_EX | LOCK_NB, {}); }

}  // namespace ckpt::store
