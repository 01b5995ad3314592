// Inotify instances: what is watched is an inode, and the kernel tells no name of it. Names are
// looked for at the save; the watches are made again by name, with the numbers they had.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "image/format.hpp"
#include "state/context.hpp"
#include "tracee/remote_calls.hpp"

namespace ckpt::state {

struct InotifyWatch {
  int number = 0;  // watch descriptor
  std::uint32_t mask = 0;
  std::string path;
  std::uint64_t inode = 0;
  std::uint64_t device = 0;
};

struct Inotify {
  std::vector<InotifyWatch> watches;  // ascending numbers
};

/// `own`: our duplicate of the descriptor, or -1.
Inotify read_inotify(CaptureContext& context, const std::string& object, const std::string& info,
                     int own);

image::Json inotify_to_json(const Inotify& inotify);
Inotify inotify_from_json(const image::Json& json);

/// Makes the instance and its watches in the process; says in `notes` which could not be made.
int make_inotify(tracee::RemoteCalls& calls, const Inotify& inotify, const std::string& object,
                 std::vector<std::string>& notes);

}  // namespace ckpt::state
