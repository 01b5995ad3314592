// Inotify instances: what is watched is an inode, and the kernel tells no name of it. Names are
// looked for at the save; the watches are made again by name, with the numbers they had. A file
// that has no name any more is reached through a descriptor that the program has of it.
#pragma once

#include <cstdint>
#include <functional>
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
  int fd = -1;  // of the program's, on that file: in place of the path
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

/// Makes an instance without watches in the process.
int make_inotify(tracee::RemoteCalls& calls);

/// Whether a descriptor of the program's is that of a file that has come back.
using IsFile = std::function<bool(int fd)>;

/// Adds the watches to the instance `fd`, when all files are there and have the descriptors that
/// they had; says in `notes` which could not be made.
void watch_files(tracee::RemoteCalls& calls, int fd, const Inotify& inotify,
                 const std::string& object, const IsFile& is_file, std::vector<std::string>& notes);

}  // namespace ckpt::state
