// Fanotify groups: marks on files, mounts and file systems, made again by name (watched_file.hpp).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "image/fields.hpp"
#include "state/descriptors/watched_file.hpp"

namespace ckpt::state {

struct FanotifyMark {
  std::uint32_t type = 0;   // FAN_MARK_INODE, FAN_MARK_MOUNT or FAN_MARK_FILESYSTEM
  std::uint32_t flags = 0;  // other FAN_MARK_* that it keeps
  std::uint64_t mask = 0;
  std::uint64_t ignored_mask = 0;
  WatchedFile file;
};

struct Fanotify {
  std::uint32_t flags = 0;        // of fanotify_init(2)
  std::uint32_t event_flags = 0;  // of the files that come with events
  std::vector<FanotifyMark> marks;
};

const image::Fields<FanotifyMark>& fields_of(const FanotifyMark* /*type*/);
const image::Fields<Fanotify>& fields_of(const Fanotify* /*type*/);

}  // namespace ckpt::state
