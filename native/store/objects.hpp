// The part of the store that the core knows: contents of executables, libraries and data files,
// each kept once per content. docs/format.md describes the directory.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/unique_fd.hpp"

namespace ckpt::store {

struct ObjectRef {
  std::string hash;  // 32 hex digits
  std::uint64_t size_bytes = 0;
  std::string name;  // last component of the path it was taken from
};

class Objects {
 public:
  /// The default directory: $CKPT_DIR, else $XDG_DATA_HOME/ckpt, else ~/.local/share/ckpt.
  static std::string default_directory();

  /// Opens a store, creating directories (0700) that are missing. Refuses a directory that is not
  /// the user's own or that others may write to. Throws Error naming it.
  static Objects open_or_create(const std::string& directory);
  /// Opens a store for reading; nothing is created or checked until an object is asked for.
  static Objects at(const std::string& directory);

  [[nodiscard]] const std::string& directory() const { return directory_; }

  /// Keeps the store's contents from being collected as long as the result lives: a save counts on
  /// objects that no published image names yet, a restore on those of an image that may be deleted
  /// meanwhile. Waits for a collection to end. Nothing to hold if there is no such directory.
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

  /// A path for a new snapshot of a program, called PROGRAM-N, with N one more than the largest in
  /// use. What no name may have becomes "_".
  [[nodiscard]] std::string new_snapshot(const std::string& program) const;

  /// Remembers a snapshot that lies outside the store, so that its objects are kept. Nothing is
  /// done when a link leads to it already, whichever process made it.
  void add_external(const std::string& image_path);
  /// Notes that an image elsewhere is used, whichever process made it: its objects are kept as
  /// well, but it is not listed.
  void add_claim(const std::string& image_path) const;

 private:
  explicit Objects(std::string directory) : directory_(std::move(directory)) {}

  [[nodiscard]] std::string object_directory(const std::string& hash) const;
  [[nodiscard]] std::string place(const std::string& hash, const std::string& name) const;
  [[nodiscard]] std::optional<std::string> indexed(const struct stat& status) const;
  void index(const struct stat& status, const std::string& hash);
  /// The link that was made, or nothing.
  [[nodiscard]] std::string link(const std::string& image_path, std::string_view prefix) const;

  std::string directory_;
  std::set<std::string> added_;  // hashes
  std::string link_added_;
  std::map<std::string, std::string> index_added_;  // files of the index, and the hashes in them
};

/// The last component of a path, made safe to be a file name.
std::string object_name(const std::string& path);

}  // namespace ckpt::store
