// Directories that a program still has open, or is in, but that have no name any more: they are
// empty, and nothing can be made in them.
#pragma once

#include <sys/stat.h>

#include <compare>
#include <cstdint>
#include <map>

#include "base/unique_fd.hpp"
#include "image/format.hpp"

namespace ckpt::state {

struct RemovedDirectory {
  std::uint64_t device = 0;  // with the inode: which of several
  std::uint64_t inode = 0;
  std::uint32_t mode = 0;

  auto operator<=>(const RemovedDirectory&) const = default;
};

RemovedDirectory describe_removed_directory(const struct stat& status);
image::Json removed_directory_to_json(const RemovedDirectory& directory);
RemovedDirectory removed_directory_from_json(const image::Json& json);

/// All of a program, made again in the restoring one.
class RemovedDirectories {
 public:
  /// A description of its own; `flags` as in open(2). Throws Error.
  [[nodiscard]] UniqueFd open(const RemovedDirectory& directory, int flags);

 private:
  std::map<RemovedDirectory, UniqueFd> made_;
};

}  // namespace ckpt::state
