#include "state/files/sandbox.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/mounts.hpp"
#include "proc/text.hpp"
#include "state/surroundings/namespaces.hpp"

namespace ckpt::state {

namespace {

constexpr const char* kSource = "gdb-ckpt";

bool is_below(const std::string& path, const std::string& directory) {
  return path == directory || path.starts_with(directory + "/");
}

// The nearest directory that there is, without links in its name.
std::string existing(std::string directory) {
  for (;;) {
    struct stat status {};
    if (::stat(directory.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) break;
    const auto slash = directory.rfind('/');
    if (slash == 0 || slash == std::string::npos) return "/";
    directory.resize(slash);
  }
  char* const real = ::realpath(directory.c_str(), nullptr);
  if (real == nullptr) throw_errno(fmt::format("sandbox: look for {}", directory), errno);
  std::string path = real;
  std::free(real);  // NOLINT: realpath(3) wants it
  return path;
}

// Where something is mounted below a directory, outermost first.
std::vector<std::string> mounts_below(const std::string& directory) {
  std::vector<std::string> found;
  for (auto& [id, device, place] : proc::parse_mounts(read_file("/proc/self/mountinfo"))) {
    if (place == directory || !is_below(place, directory)) continue;
    bool covered = false;
    for (const auto& other : found) covered = covered || is_below(place, other);
    if (!covered) found.push_back(std::move(place));
  }
  return found;
}

// Names of sockets at which a process listens.
std::vector<std::string> sockets_below(const std::string& directory) {
  std::vector<std::string> found;
  const std::string text = try_read_file("/proc/net/unix").value_or("");
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view line = proc::cut(rest, '\n');
    const auto at = line.find('/');
    if (at == std::string_view::npos) continue;
    std::string path(line.substr(at));
    struct stat status {};
    if (is_below(path, directory) && ::lstat(path.c_str(), &status) == 0 &&
        S_ISSOCK(status.st_mode) && std::find(found.begin(), found.end(), path) == found.end())
      found.push_back(std::move(path));
  }
  return found;
}

// An overlay over `directory` would not cover `path` then.
bool is_mounted_between(const std::string& directory, const std::string& path) {
  const auto mounts = mounts_below(directory);
  return std::any_of(mounts.begin(), mounts.end(),
                     [&](const std::string& mount) { return is_below(path, mount); });
}

// What is mounted below a directory, to be mounted again on what is laid over it.
class Kept {
 public:
  explicit Kept(const std::string& directory) {
    auto places = mounts_below(directory);
    // A name in an overlay does not lead to the socket below it.
    for (auto& socket : sockets_below(directory)) places.push_back(std::move(socket));
    for (auto& place : places) {
      const int tree = static_cast<int>(
          ::syscall(SYS_open_tree, AT_FDCWD, place.c_str(),
                    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | static_cast<unsigned>(AT_RECURSIVE)));
      if (tree < 0) throw_errno(fmt::format("sandbox: keep {}", place), errno);
      kept_.emplace_back(std::move(place), UniqueFd(tree));
    }
  }
  void mount_again() const {
    for (const auto& [place, tree] : kept_)
      if (::syscall(SYS_move_mount, tree.get(), "", AT_FDCWD, place.c_str(),
                    MOVE_MOUNT_F_EMPTY_PATH) != 0)
        throw_errno(fmt::format("sandbox: mount {} again", place), errno);
  }

 private:
  std::vector<std::pair<std::string, UniqueFd>> kept_;
};

// A file system in memory, mounted for as long as this lives.
class Memory {
 public:
  explicit Memory(const std::string& place)
      : place_(open_file(place, O_PATH | O_DIRECTORY)), path_(place + "/sandbox-XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr)
      throw_errno(fmt::format("sandbox: make a directory in {}", place), errno);
    if (::mount(kSource, path_.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "mode=700") != 0) {
      const int error_number = errno;
      remove();
      throw_errno("sandbox: mount a tmpfs", error_number);
    }
    top_ = open_file(path_, O_PATH | O_DIRECTORY);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  // What is laid over directories has it for itself. By now its own path may lead into one of
  // these.
  ~Memory() {
    ::umount2(fmt::format("/proc/self/fd/{}", top_.get()).c_str(), MNT_DETACH);
    top_.reset();
    remove();
  }
  [[nodiscard]] UniqueFd make(const std::string& name) const {
    if (::mkdirat(top_.get(), name.c_str(), 0700) != 0)
      throw_errno("sandbox: make a directory", errno);
    return open_file(fmt::format("/proc/self/fd/{}/{}", top_.get(), name), O_PATH | O_DIRECTORY);
  }

 private:
  void remove() const {
    ::unlinkat(place_.get(), path_.c_str() + path_.rfind('/') + 1, AT_REMOVEDIR);
  }

  UniqueFd place_;
  std::string path_;
  UniqueFd top_;
};

// Options of mount(2) give commas and colons a meaning; numbers of descriptors have none.
void lay_over(const std::string& directory, const Memory& memory, std::size_t number,
              bool as_user) {
  const UniqueFd lower = open_file(directory, O_PATH | O_DIRECTORY);
  const UniqueFd upper = memory.make(fmt::format("{}u", number));
  const UniqueFd work = memory.make(fmt::format("{}w", number));
  struct stat status {};
  if (::fstat(lower.get(), &status) != 0) throw_errno(directory, errno);
  const std::string upper_path = fmt::format("/proc/self/fd/{}", upper.get());
  // The directory itself looks as before, as far as this user may say so.
  if (::chown(upper_path.c_str(), status.st_uid, status.st_gid) != 0 && !as_user)
    throw_errno(fmt::format("sandbox: the owner of {}", directory), errno);
  ::chmod(upper_path.c_str(), status.st_mode & 07777U);
  const Kept kept(directory);
  const std::string options =
      fmt::format("lowerdir=/proc/self/fd/{},upperdir={},workdir=/proc/self/fd/{}{}", lower.get(),
                  upper_path, work.get(), as_user ? ",userxattr" : "");
  if (::mount(kSource, directory.c_str(), "overlay", 0, options.c_str()) != 0)
    throw_errno(fmt::format("sandbox: lay an overlay over {}", directory), errno);
  kept.mount_again();
}

}  // namespace

bool is_sandboxed(const proc::ProcessDir& process) {
  return process.read("mountinfo").find(fmt::format(" - overlay {} ", kSource)) !=
         std::string::npos;
}

std::string why_no_sandbox() {
  if (!may_make_namespaces() && !may_have_user_namespace())
    return "this system does not allow an ordinary user a user namespace";
  if (is_zero_setting("/proc/sys/user/max_mnt_namespaces"))
    return "user.max_mnt_namespaces allows no mount namespace";
  return "";
}

std::set<std::string> directories_to_cover(const std::set<std::string>& wanted) {
  std::set<std::string> chosen;
  for (const auto& each : wanted) {
    std::string directory = existing(each);
    if (directory == "/" || is_below(directory, "/proc") || is_below(directory, "/sys") ||
        directory == "/dev")
      fail(ErrorKind::unsupported, "sandbox: the directory {} cannot be covered", directory);
    chosen.insert(std::move(directory));
  }
  std::set<std::string> outermost;
  for (const auto& each : chosen) {
    bool inside = false;
    for (const auto& other : outermost)
      inside = inside || (is_below(each, other) && !is_mounted_between(other, each));
    if (!inside) outermost.insert(each);
  }
  return outermost;
}

std::set<dev_t> enter_sandbox(const std::set<std::string>& directories, const std::string& place) {
  const bool as_user = !may_make_namespaces();
  if (as_user) enter_user_namespace("sandbox: make a user namespace");
  if (::unshare(CLONE_NEWNS) != 0) throw_errno("sandbox: make a mount namespace", errno);
  // What is mounted elsewhere later shows here, and our mounts do not show there.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0)
    throw_errno("sandbox: keep mounts apart", errno);
  std::set<dev_t> devices;
  std::vector<std::string> done;
  try {
    const Memory memory(place);
    for (const auto& directory : directories) {
      lay_over(directory, memory, done.size(), as_user);
      done.push_back(directory);
      struct stat status {};
      if (::stat(directory.c_str(), &status) != 0) throw_errno(directory, errno);
      devices.insert(status.st_dev);
    }
  } catch (...) {
    for (const auto& directory : done) ::umount2(directory.c_str(), MNT_DETACH);
    throw;
  }
  return devices;
}

}  // namespace ckpt::state
