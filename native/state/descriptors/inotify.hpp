// Inotify instances: the watches are made again with the numbers they had (watched_file.hpp tells
// how the files are found).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "image/fields.hpp"
#include "state/context.hpp"
#include "state/descriptors/watched_file.hpp"

namespace ckpt::state {

struct InotifyWatch {
  int number = 0;  // watch descriptor
  std::uint32_t mask = 0;
  WatchedFile file;
};

struct Inotify {
  std::vector<InotifyWatch> watches;  // ascending numbers
};

/// `own`: our duplicate of the descriptor, or -1.
Inotify read_inotify(CaptureContext& context, const std::string& object, const std::string& info,
                     int own);

const image::Fields<InotifyWatch>& fields_of(const InotifyWatch* /*type*/);
const image::Fields<Inotify>& fields_of(const Inotify* /*type*/);

/// Makes an instance without watches in the process.
int make_inotify(RestoreContext& inferior);

/// Adds the watches to the instance `fd`, when all files are there and have the descriptors that
/// they had; says which could not be made.
void watch_files(RestoreContext& inferior, int fd, const Inotify& inotify,
                 const std::string& object, const IsFile& is_file);

}  // namespace ckpt::state
