// Opening and naming files that others use, without their noticing.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>

#include "base/unique_fd.hpp"

namespace ckpt::state {

/// Opens a regular file for reading: not where another process has a lease for writing on it, which
/// that would break (fcntl(2)), and without a new time of access where the system permits. `path`
/// may be a link of /proc. Empty, with errno, where it cannot be: EBUSY for a lease.
UniqueFd open_quietly(const std::string& path);

/// The name of that file in the directory of `path`, which was its name: one that was renamed by
/// link() and unlink() mostly has its new name there.
std::optional<std::string> name_beside(const std::string& path, ino_t inode);

/// What an open or mapped file is called.
struct FileName {
  std::string path;
  bool deleted = false;  // it has no name that could be found
};
/// From what /proc says, of which a file that has lost the name it was opened by ends with
/// " (deleted)". That may also be a part of the name, or the file may have another link beside.
FileName name_of(const struct stat& status, const std::string& shown);

}  // namespace ckpt::state
