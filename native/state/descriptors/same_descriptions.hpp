// Which descriptors refer to one open file description, as kcmp(2) tells: that sharing is kept.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"
#include "proc/process_dir.hpp"

namespace ckpt::state {

/// One description, as a save looks at it.
struct OpenDescription {
  int fd = -1;  // the lowest number; -1 for one that is on its way in a message
  std::string object;
  std::string target;
  std::string link;  // a path that leads to it
  struct stat status {};
  proc::FdInfo info;
  UniqueFd own;  // a duplicate; empty where the kernel gives none (pidfd_getfd(2))
  std::size_t description = 0;
};

using Inode = std::pair<dev_t, ino_t>;
inline Inode inode_of(const OpenDescription& open) {
  return {open.status.st_dev, open.status.st_ino};
}

/// The descriptions that a save has come to.
class SameDescriptions {
 public:
  /// `process`: whose numbers descriptors have; it outlives this.
  explicit SameDescriptions(const proc::ProcessDir& process) : process_(process) {}

  [[nodiscard]] bool is_same(const OpenDescription& one, const OpenDescription& other) const;
  /// The index of the description that this one is, if that was added.
  std::optional<std::size_t> find(const OpenDescription& open);
  /// `open` is none of those that were, and outlives this.
  void add(const OpenDescription& open);

 private:
  using Ordered = std::vector<const OpenDescription*>;
  struct Place {
    Ordered* among;
    Ordered::iterator at;
    bool found;
  };
  [[nodiscard]] int compare(const OpenDescription& one, const OpenDescription& other) const;
  Place find_place(const OpenDescription& open);

  const proc::ProcessDir& process_;
  // Those of one inode in the kernel's order: there may be thousands (an eventfd has that of all).
  std::map<Inode, Ordered> ordered_;
};

}  // namespace ckpt::state
