// A view of the file system in which a restored program finds by name what was there at the save,
// and in which nothing that it does reaches the user's files: a mount namespace with an overlay
// (overlayfs) over each directory that the program writes to. What lands in it is in memory, and
// goes away with the last process in it.
#pragma once

#include <sys/types.h>

#include <set>
#include <string>
#include <vector>

#include "proc/process_dir.hpp"

namespace ckpt::state {

/// Whether a process is in one.
bool is_sandboxed(const proc::ProcessDir& process);

/// Why this user cannot have one, as far as settings tell; empty if there is no reason known.
/// Nothing is tried.
std::string why_no_sandbox();

/// The existing directories to lay an overlay over, so that all names directly below `wanted` are
/// covered: none of them below another one. A directory that is gone stands for the nearest one
/// above it. Throws Error (unsupported) if one of them cannot be covered (the root, /proc).
std::set<std::string> directories_to_cover(const std::set<std::string>& wanted);

/// Puts the calling process, which has one thread, and its children into a sandbox over
/// `directories` (as above). `place`: a directory that may be written to, in which nothing is left.
/// Returns the devices of the overlays, by which their directories can be told from the user's.
/// Throws Error; the process then sees the files as before, though maybe in a mount namespace of
/// its own.
std::set<dev_t> enter_sandbox(const std::set<std::string>& directories, const std::string& place);

}  // namespace ckpt::state
