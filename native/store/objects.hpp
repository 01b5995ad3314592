// Contents of executables, libraries and data files, each kept once per content.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/unique_fd.hpp"
#include "image/fields.hpp"

namespace ckpt::store {

struct ObjectRef {
  std::string hash;  // 32 hex digits
  std::uint64_t size_bytes = 0;
  std::string name;  // last component of the path it was taken from
};
const image::Fields<ObjectRef>& fields_of(const ObjectRef* /*type*/);

class Objects {
 public:
  /// Opens a store, and makes what is missing of it (see create_directory()). Throws Error.
  static Objects open_or_create(const std::string& directory);
  /// Opens a store for reading; nothing is created or checked until an object is asked for.
  static Objects at(const std::string& directory);

  [[nodiscard]] const std::string& directory() const { return directory_; }

  /// See store::hold().
  [[nodiscard]] UniqueFd hold() const;

  /// Keeps the content of an open file, unless it is here already, and returns its name.
  /// `path` gives the object's last path component. An executable or library that was kept before
  /// and has not changed since (device, inode, size, mtime, ctime) is not read again.
  ObjectRef keep(int fd, const std::string& path, bool executable);

  /// The same for content that is in memory only.
  ObjectRef keep_bytes(const std::string& content, const std::string& name);

  /// Undoes keep(), keep_bytes() and add_external() for a save that has failed: removes what they
  /// have added and no snapshot needs. Nothing is removed while another process holds the store,
  /// which may count on it. `held`: what hold() has returned, which ends. Throws nothing.
  void take_back(UniqueFd held) noexcept;

  /// Where an object is; nothing when the store does not have it. Checks the size only.
  [[nodiscard]] std::optional<std::string> find(const ObjectRef& object) const;

  /// Whether an object's content still has its hash.
  [[nodiscard]] bool intact(const ObjectRef& object) const;

  /// Lists a snapshot that lies outside the store (see add_link()).
  void add_external(const std::string& image_path);

 private:
  explicit Objects(std::string directory) : directory_(std::move(directory)) {}

  [[nodiscard]] std::string object_directory(const std::string& hash) const;
  [[nodiscard]] std::string place(const std::string& hash, const std::string& name) const;
  [[nodiscard]] std::optional<std::string> indexed(const struct stat& status) const;
  void index(const struct stat& status, const std::string& hash);

  std::string directory_;
  std::set<std::string> added_;  // hashes
  std::string link_added_;
  std::map<std::string, std::string> index_added_;  // files of the index, and the hashes in them
};

/// The last component of a path, made safe to be a file name.
std::string object_name(const std::string& path);

}  // namespace ckpt::store
