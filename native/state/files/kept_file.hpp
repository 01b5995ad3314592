// A file of the program as it was at the save, and whether the file in the file system is still
// that file. Used for open descriptors and for mappings alike.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>

#include "image/fields.hpp"
#include "state/files/file_attributes.hpp"
#include "store/objects.hpp"

namespace ckpt::state {

struct KeptFile {
  std::string path;
  bool deleted = false;    // had no name (any more) at the save
  bool in_memory = false;  // a memfd; `path` is "/memfd:NAME"
  std::uint32_t seals = 0;
  bool on_tmpfs = false;              // shared memory, or in such a file system
  std::uint64_t huge_page_bytes = 0;  // in a hugetlbfs: its page size
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size_bytes = 0;
  std::int64_t mtime_ns = 0;
  std::int64_t ctime_ns = 0;
  // Absent in the snapshots of earlier versions.
  std::optional<std::uint32_t> mode;  // permissions
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::optional<FileAttributes> attributes;  // of one that comes back as a copy
  std::optional<store::ObjectRef> object;    // the content, if it was kept
};

const image::Fields<KeptFile>& fields_of(const KeptFile* /*type*/);

/// Describes an open file; no content is kept.
KeptFile describe_file(const struct stat& status, const std::string& path, bool deleted);

/// Whether the content of a file with a name is to be kept: `limit_bytes`, or for one that the
/// program writes to, which without it could not be restored once it goes on, many times as much of
/// what is allocated.
bool is_small_enough(const struct stat& status, bool written, std::uint64_t limit_bytes);
/// What a user is told of a file whose content was not kept for its size.
std::string too_large_text(const std::string& path, bool written);

enum class Found {
  same,        // the file is what it was
  changed,     // other size or content
  missing,     // nothing of that name, or not a regular file
  unreadable,  // it may not be opened any more
};

/// The name that memfd_create(2) was given, or would be for a copy.
std::string memfd_name(const KeptFile& file);

/// Looks at the file system. Reads the content only if the identity leaves a doubt, or if it is
/// asked for and small.
Found look_for(const KeptFile& file, bool by_content = false);
/// "has changed", "is gone", ...
std::string_view found_text(Found found) noexcept;

}  // namespace ckpt::state
