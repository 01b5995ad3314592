// What a program still has open, or is in, and that has no name any more, other than regular files:
// directories, in which nothing can be made, symbolic links, and special files.
#pragma once

#include <sys/stat.h>

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/unique_fd.hpp"
#include "image/fields.hpp"

namespace ckpt::state {

struct RemovedEntry {
  std::uint64_t device = 0;  // with the inode: which of several
  std::uint64_t inode = 0;
  std::uint32_t mode = 0;  // with its type
  std::int64_t uid = -1;   // -1: not known
  std::int64_t gid = -1;
  std::uint64_t number = 0;  // of a device
  std::string target;        // of a symbolic link

  auto operator<=>(const RemovedEntry&) const = default;
};

RemovedEntry describe_removed_entry(const struct stat& status);
/// `own`: a descriptor of the symbolic link itself. Nothing if it cannot be read.
std::optional<RemovedEntry> describe_removed_link(const struct stat& status, int own);
const image::Fields<RemovedEntry>& fields_of(const RemovedEntry* /*type*/);

/// All of a program, made again in the restoring one.
class RemovedEntries {
 public:
  /// A description of its own; `flags` as in open(2). `path`: where it was, as /proc shows it. It
  /// is made there if that is possible, so that /proc shows the same again. Throws Error.
  [[nodiscard]] UniqueFd open(const RemovedEntry& entry, const std::string& path, int flags);

 private:
  std::map<RemovedEntry, UniqueFd> made_;
};

}  // namespace ckpt::state
