// Locks and leases on open files, and who is told when a file is ready for input or output
// (fcntl(2): F_SETLK, F_OFD_SETLK, F_SETLEASE, F_SETOWN_EX, F_SETSIG; flock(2)).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "image/fields.hpp"
#include "state/context.hpp"

namespace ckpt::state {

struct FileLock {
  enum class Kind { posix, open_file, flock, lease };
  Kind kind = Kind::posix;
  bool write = false;
  std::int64_t start = 0;
  std::int64_t length_bytes = 0;  // 0: to the end, however far the file grows
};

/// Whom a SIGIO goes to.
struct FileOwner {
  int type = 0;    // F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP
  Tid id = 0;      // 0: none
  int signal = 0;  // 0: SIGIO
};

/// From the "lock:" lines of fdinfo. Those of a kind that is not known are reported.
std::vector<FileLock> read_locks(CaptureContext& context, const std::string& object,
                                 const std::vector<std::string>& lines);
/// `own`: our duplicate of the descriptor.
FileOwner read_owner(int own);

const image::Fields<FileLock>& fields_of(const FileLock* /*type*/);
const image::Fields<FileOwner>& fields_of(const FileOwner* /*type*/);

/// Takes the locks again in the process. `path` is for the notes, which say what others hold now,
/// and `holder` for what is known of them ("another process has").
void take_locks(RestoreContext& inferior, int fd, const std::vector<FileLock>& locks,
                const std::string& path, std::string_view holder);
/// `renewed`: the id that a process, thread or group has now.
void set_owner(RestoreContext& inferior, int fd, const FileOwner& owner,
               const std::function<Tid(int type, Tid)>& renewed);

}  // namespace ckpt::state
