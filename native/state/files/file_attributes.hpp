// What a file has beside its content, its permissions and its time of modification. A file without
// a name comes back as a copy, which gets it, too.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "image/fields.hpp"
#include "state/context.hpp"

namespace ckpt::state {

struct ExtendedAttribute {
  std::string name;  // "user.NAME"
  std::string value;
};

struct FileAttributes {
  std::int64_t atime_ns = 0;
  std::uint64_t write_hint = 0;  // F_SET_RW_HINT; 0: not set
  std::uint32_t flags = 0;       // FS_IOC_SETFLAGS: those that a copy gets
  std::vector<ExtendedAttribute> extended;
};

/// `fd`: any that reads the file, or -1. What does not come back is reported.
FileAttributes read_file_attributes(CaptureContext& context, const std::string& object,
                                    const std::string& path, int fd, const struct stat& status);

const image::Fields<ExtendedAttribute>& fields_of(const ExtendedAttribute* /*type*/);
const image::Fields<FileAttributes>& fields_of(const FileAttributes* /*type*/);

/// Those that permissions may forbid to change. What could not be set is named in the result, which
/// is empty otherwise.
std::string set_file_attributes(int fd, const FileAttributes& attributes);
/// Those that forbid to change others; false if they could not be set.
bool set_file_flags(int fd, const FileAttributes& attributes);

}  // namespace ckpt::state
