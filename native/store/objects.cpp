#include "store/objects.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/fault.hpp"
#include "base/io.hpp"
#include "image/reader.hpp"
#include "image/writer.hpp"
#include "store/directory.hpp"
#include "store/links.hpp"
#include "store/listing.hpp"

namespace ckpt::store {

std::string object_name(const std::string& path) {
  const auto slash = path.rfind('/');
  std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name.size() > 200) name.resize(200);
  for (char& c : name)
    if (static_cast<unsigned char>(c) < ' ') c = '_';
  if (name.empty() || name == "." || name == "..") name = "content";
  return name;
}

const image::Fields<ObjectRef>& fields_of(const ObjectRef* /*type*/) {
  static const image::Fields<ObjectRef> fields = {
      "object",
      {{"hash", &ObjectRef::hash, "XXH3-128 of its content, in hex digits"},
       {"size", &ObjectRef::size_bytes, "in bytes"},
       {"name", &ObjectRef::name, "last component of the path it was taken from"}}};
  return fields;
}

Objects Objects::open_or_create(const std::string& directory) {
  create_directory(directory);
  return Objects(directory);
}

Objects Objects::at(const std::string& directory) { return Objects(directory); }

UniqueFd Objects::hold() const { return store::hold(directory_); }

std::string Objects::object_directory(const std::string& hash) const {
  return Layout{directory_}.contents(hash);
}

std::string Objects::place(const std::string& hash, const std::string& name) const {
  return make_place(directory_, hash, name);
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
  auto text = try_read_file(
      fmt::format("{}/{}", Layout{directory_}.index(), index_name(identity_key(status))));
  if (!text || !is_hash(*text)) return std::nullopt;
  return text;
}

void Objects::index(const struct stat& status, const std::string& hash) {
  image::PendingFile entry(
      fmt::format("{}/{}", Layout{directory_}.index(), index_name(identity_key(status))), true);
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
  std::set<std::string> needed;
  for (const std::string& path : images(directory)) {
    const image::Reader reader = image::Reader::open(path);
    for (const auto& object : reader.record().at("objects")) needed.insert(object.at("hash"));
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
  auto path = Layout{directory_}.object(object.hash, object.name);
  struct stat status {};
  if (!path || ::stat(path->c_str(), &status) != 0 || !S_ISREG(status.st_mode) ||
      static_cast<std::uint64_t>(status.st_size) != object.size_bytes)
    return std::nullopt;
  return path;
}

bool Objects::intact(const ObjectRef& object) const {
  const auto path = find(object);
  if (!path) return false;
  const UniqueFd fd = open_file(*path, O_RDONLY);
  return has_digest(fd.get(), *path, object.hash);
}

void Objects::add_external(const std::string& image_path) {
  link_added_ = add_link(directory_, image_path, LinkKind::listed);
}

}  // namespace ckpt::store
