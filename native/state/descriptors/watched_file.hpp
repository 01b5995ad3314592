// Files that a program watches (inotify, fanotify): the kernel knows them by inode, and tells no
// name. Names are looked for at the save; a file that has no name any more is reached through a
// descriptor that the program has of it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "image/fields.hpp"
#include "state/context.hpp"
#include "state/descriptors/kinds.hpp"

namespace ckpt::state {

/// What fdinfo tells of a watched file.
struct WatchedInode {
  std::uint64_t inode = 0;
  dev_t device = 0;
  std::string handle;  // struct file_handle's bytes
  int handle_type = 0;

  /// Takes it from a word of fdinfo: `key` and `value` of "ino:3c51a". False for any other key.
  bool take(std::string_view key, std::string_view value);
};

/// How it is found again.
struct WatchedFile {
  std::string path;
  std::uint64_t inode = 0;
  std::uint64_t device = 0;
  int fd = -1;  // of the program, on that file: in place of the path
};

/// Finds names for the files that a process watches, of which there may be thousands.
class WatchedFiles {
 public:
  explicit WatchedFiles(const CaptureContext& context);

  /// Nothing if no name can be found, nor a descriptor of the program.
  std::optional<WatchedFile> find(const WatchedInode& target);

 private:
  struct Open {
    int fd;
    bool removed;  // the file has no name
  };
  using Names = std::unordered_map<std::uint64_t, std::string>;  // by inode

  std::optional<std::string> name_by_handle(const WatchedInode& target);
  std::optional<std::string> name_by_search(const WatchedInode& target);
  [[nodiscard]] Names names_on(dev_t device) const;

  const CaptureContext& context_;
  std::vector<std::string> places_;
  std::map<std::pair<dev_t, std::uint64_t>, Open> descriptors_;  // by device and inode
  std::map<dev_t, Names> names_;
  bool may_open_handles_ = true;
};

/// "inode 5 of device 8:1"
std::string inode_text(const WatchedInode& target);

const image::Fields<WatchedFile>& fields_of(const WatchedFile* /*type*/);

/// Whether a descriptor of the program is that of a file that has come back.
using IsFile = std::function<bool(int fd)>;
IsFile files_among(const DescriptorTable& table);

/// The name by which the program can reach the file. Nothing if it does not come back. Says in
/// `notes` if another file has that name; `watch` is what the messages begin with.
std::optional<std::string> name_to_watch(const WatchedFile& file, const IsFile& is_file,
                                         const std::string& watch, std::vector<std::string>& notes);

}  // namespace ckpt::state
