#include "store/objects.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/fault.hpp"
#include "base/io.hpp"
#include "image/reader.hpp"
#include "image/writer.hpp"

namespace ckpt::store {

namespace {

constexpr std::size_t kHashDigits = 32;
constexpr std::string_view kClaim = "claim-";

bool is_hash(const std::string& text) {
  return text.size() == kHashDigits &&
         text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

void make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    throw_errno(fmt::format("create directory {}", path), errno);
}

void make_directories(const std::string& path) {
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    const std::string parent = path.substr(0, at);
    if (::access(parent.c_str(), F_OK) != 0) make_directory(parent);
  }
  make_directory(path);
}

void refuse_foreign(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) throw_errno(fmt::format("stat {}", path), errno);
  if (!S_ISDIR(status.st_mode)) fail(ErrorKind::refused, "{}: not a directory", path);
  if (status.st_uid != ::geteuid())
    fail(ErrorKind::refused,
         "{}: the store belongs to another user (uid {}): choose a directory of your own", path,
         status.st_uid);
  if ((status.st_mode & 022U) != 0)
    fail(ErrorKind::refused, "{}: others may write to the store: chmod go-w it", path);
}

}  // namespace

std::string object_name(const std::string& path) {
  const auto slash = path.rfind('/');
  std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name.size() > 200) name.resize(200);
  for (char& c : name)
    if (static_cast<unsigned char>(c) < ' ') c = '_';
  if (name.empty() || name == "." || name == "..") name = "content";
  return name;
}

std::string Objects::default_directory() {
  // NOLINTBEGIN(concurrency-mt-unsafe): read once, before any thread is started
  const char* own = std::getenv("CKPT_DIR");
  if (own != nullptr && *own != '\0') return own;
  const char* data = std::getenv("XDG_DATA_HOME");
  if (data != nullptr && *data == '/') return std::string(data) + "/ckpt";
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home == '\0') {
    const passwd* user = ::getpwuid(::geteuid());
    if (user != nullptr) home = user->pw_dir;
  }
  // NOLINTEND(concurrency-mt-unsafe)
  if (home == nullptr || *home == '\0')
    fail(ErrorKind::usage, "no store: neither CKPT_DIR nor HOME is set");
  return std::string(home) + "/.local/share/ckpt";
}

Objects Objects::open_or_create(const std::string& directory) {
  make_directories(directory);
  refuse_foreign(directory);
  for (const char* part : {"snapshots", "objects", "index", "external", "scratch"})
    make_directory(directory + "/" + part);
  return Objects(directory);
}

Objects Objects::at(const std::string& directory) { return Objects(directory); }

UniqueFd Objects::hold() const {
  UniqueFd directory(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return directory;
  while (::flock(directory.get(), LOCK_SH) != 0)
    if (errno != EINTR) throw_errno(fmt::format("lock the store {}", directory_), errno);
  return directory;
}

std::string Objects::object_directory(const std::string& hash) const {
  return fmt::format("{}/objects/{}/{}", directory_, hash.substr(0, 2), hash);
}

std::string Objects::place(const std::string& hash, const std::string& name) const {
  make_directory(fmt::format("{}/objects/{}", directory_, hash.substr(0, 2)));
  make_directory(object_directory(hash));
  return object_directory(hash) + "/" + name;
}

namespace {

std::string identity_key(const struct stat& status) {
  return fmt::format("{}:{}:{}:{}.{}:{}.{}", status.st_dev, status.st_ino, status.st_size,
                     status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec,
                     status.st_ctim.tv_nsec);
}

std::string index_name(const std::string& key) {
  return digest_hex(std::as_bytes(std::span(key.data(), key.size())));
}

}  // namespace

std::optional<std::string> Objects::indexed(const struct stat& status) const {
  auto text =
      try_read_file(fmt::format("{}/index/{}", directory_, index_name(identity_key(status))));
  if (!text || !is_hash(*text)) return std::nullopt;
  return text;
}

void Objects::index(const struct stat& status, const std::string& hash) {
  image::PendingFile entry(fmt::format("{}/index/{}", directory_, index_name(identity_key(status))),
                           true);
  write_all(entry.fd(), hash, entry.path());
  entry.publish();
  index_added_[entry.path()] = hash;
}

ObjectRef Objects::keep(int fd, const std::string& path, bool executable) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) throw_errno(fmt::format("stat {}", path), errno);
  ObjectRef object;
  object.name = object_name(path);
  object.size_bytes = static_cast<std::uint64_t>(status.st_size);
  const unsigned mode = executable ? 0700 : 0600;
  const auto present = [&] {
    const auto found = find(object);
    if (found && executable && ::access(found->c_str(), X_OK) != 0) ::chmod(found->c_str(), mode);
    return found.has_value();
  };
  // Writing to a shared mapping moves a file's times only when the kernel next cleans the page (on
  // tmpfs never), so two contents of a data file can have the same ones. Code that runs is not
  // written to.
  const auto hash = executable ? indexed(status) : std::nullopt;
  if (hash) {
    object.hash = *hash;
    if (present()) return object;
  }
  object.hash = digest_file(fd, path, object.size_bytes);
  if (!present()) {
    added_.insert(object.hash);
    fault_point("save-objects");
    // The name must be the digest of what is in the store, even if the file changes meanwhile.
    image::PendingFile copy(place(object.hash, object.name), true, mode);
    copy_content(fd, copy.fd(), object.size_bytes, fmt::format("{} into {}", path, directory_));
    std::uint64_t copied_bytes = 0;
    if (digest_file(copy.fd(), copy.path(), copied_bytes) != object.hash)
      fail(ErrorKind::files, "{}: it changed while it was being copied: save again", path);
    copy.publish();
  }
  if (executable) index(status, object.hash);
  return object;
}

ObjectRef Objects::keep_bytes(const std::string& content, const std::string& name) {
  ObjectRef object;
  object.name = object_name(name);
  object.size_bytes = content.size();
  object.hash = digest_hex(std::as_bytes(std::span(content.data(), content.size())));
  if (!find(object)) {
    added_.insert(object.hash);
    image::PendingFile copy(place(object.hash, object.name), true);
    write_all(copy.fd(), content, copy.path());
    copy.publish();
  }
  return object;
}

namespace {

/// The hashes that the snapshots in a store, and those that it has links to, need. Throws Error
/// when one cannot be read: it is not known what it needs.
std::set<std::string> needed_by_snapshots(const std::string& directory) {
  namespace fs = std::filesystem;
  std::set<std::string> needed;
  for (const char* part : {"snapshots", "external"}) {
    for (const auto& entry : fs::directory_iterator(directory + "/" + part)) {
      const bool link = fs::is_symlink(entry.symlink_status());
      if (link ? !fs::exists(entry.path()) : entry.path().extension() != ".ckpt") continue;
      const image::Reader reader = image::Reader::open(entry.path());
      for (const auto& object : reader.record().at("objects")) needed.insert(object.at("hash"));
    }
  }
  return needed;
}

}  // namespace

void Objects::take_back(UniqueFd held) noexcept {
  namespace fs = std::filesystem;
  try {
    std::error_code ignored;
    if (!link_added_.empty()) fs::remove(link_added_, ignored);
    // Who else saves or restores now may have found here what we have put there.
    if (added_.empty() || !held || ::flock(held.get(), LOCK_EX | LOCK_NB) != 0) return;
    const auto needed = needed_by_snapshots(directory_);
    for (const std::string& hash : added_) {
      if (needed.contains(hash)) continue;
      const fs::path place = object_directory(hash);
      fs::remove_all(place, ignored);
      fs::remove(place.parent_path(), ignored);  // if that was the last one there
      for (const auto& [path, content] : index_added_)
        if (content == hash) fs::remove(path, ignored);
    }
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): `ckpt gc` takes them
  }
  added_.clear();
  index_added_.clear();
}

std::optional<std::string> Objects::find(const ObjectRef& object) const {
  if (!is_hash(object.hash) || object.name.find('/') != std::string::npos) return std::nullopt;
  std::string path = object_directory(object.hash) + "/" + object_name(object.name);
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode) ||
      static_cast<std::uint64_t>(status.st_size) != object.size_bytes)
    return std::nullopt;
  return path;
}

bool Objects::intact(const ObjectRef& object) const {
  const auto path = find(object);
  if (!path) return false;
  const UniqueFd fd = open_file(*path, O_RDONLY);
  std::uint64_t size_bytes = 0;
  return digest_file(fd.get(), *path, size_bytes) == object.hash;
}

std::string Objects::new_snapshot(const std::string& program) const {
  namespace fs = std::filesystem;
  std::string stem = program;
  for (char& c : stem) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!plain && std::string_view("._+-").find(c) == std::string_view::npos) c = '_';
  }
  stem.erase(0, stem.find_first_not_of("-."));
  if (stem.empty()) stem = "program";
  stem += '-';
  constexpr std::size_t kMostDigits = 9;
  std::uint64_t largest = 0;
  std::error_code unreadable;
  for (const auto& entry : fs::directory_iterator(directory_ + "/snapshots", unreadable)) {
    const std::string name = entry.path().stem();
    if (!name.starts_with(stem) || entry.path().extension() != ".ckpt") continue;
    const std::string number = name.substr(stem.size());
    if (number.empty() || number.size() > kMostDigits ||
        number.find_first_not_of("0123456789") != std::string::npos)
      continue;
    largest = std::max<std::uint64_t>(largest, std::stoul(number));
  }
  return fmt::format("{}/snapshots/{}{}.ckpt", directory_, stem, largest + 1);
}

void Objects::add_external(const std::string& image_path) { link_added_ = link(image_path, ""); }

void Objects::add_claim(const std::string& image_path) const {
  static_cast<void>(link(image_path, kClaim));
}

std::string Objects::link(const std::string& image_path, std::string_view prefix) const {
  namespace fs = std::filesystem;
  std::error_code unreadable;
  for (const auto& link : fs::directory_iterator(directory_ + "/external", unreadable)) {
    std::error_code gone;
    // A claim is less than what lists it.
    if (prefix.empty() && link.path().filename().string().starts_with(kClaim)) continue;
    if (fs::read_symlink(link, gone) == image_path || fs::equivalent(link, image_path, gone))
      return "";
  }
  std::string name =
      fmt::format("{}/external/{}{}", directory_, prefix,
                  digest_hex(std::as_bytes(std::span(image_path.data(), image_path.size()))));
  if (::symlink(image_path.c_str(), name.c_str()) != 0 && errno != EEXIST)
    throw_errno(fmt::format("create {}", name), errno);
  return name;
}

}  // namespace ckpt::store
