#include "state/files/kept_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/io.hpp"
#include "state/files/huge_pages.hpp"
#include "state/surroundings/quiet_open.hpp"

namespace ckpt::state {

namespace {

// What is read in a few milliseconds.
constexpr std::uint64_t kSmallBytes = 16U << 20U;

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * kNanosecondsPerSecond + time.tv_nsec;
}

}  // namespace

namespace {

void check_file(KeptFile& file) {
  // Another user's snapshot must not make set-user-id files here.
  if ((file.mode.value_or(0) & ~0777U) != 0) image::damaged("the permissions of a file");
  check_huge_page(file.huge_page_bytes);
  if (file.huge_page_bytes != 0 &&
      (file.size_bytes % file.huge_page_bytes != 0 ||
       (file.object && file.object->size_bytes % file.huge_page_bytes != 0)))
    image::damaged("a file of huge pages");
}

}  // namespace

const image::Fields<KeptFile>& fields_of(const KeptFile* /*type*/) {
  using enum image::Presence;
  using F = KeptFile;
  static const image::Fields<F> fields = {
      "file",
      {{"path", &F::path, ""},
       {"deleted", &F::deleted, "it had no name any more"},
       {"in_memory", &F::in_memory, "a memfd; `path` is `/memfd:NAME`"},
       {"seals", &F::seals, "of a memfd: F_GET_SEALS"},
       {"device", &F::device, "of stat(2)"},
       {"inode", &F::inode, "likewise"},
       {"size", &F::size_bytes, "in bytes"},
       {"mtime_ns", &F::mtime_ns, "nanoseconds since 1970"},
       {"ctime_ns", &F::ctime_ns, "likewise"},
       {"mode", &F::mode, "permissions, at most 0777", unusual},
       {"uid", &F::uid, "owner", later},
       {"gid", &F::gid, "likewise", later},
       {"attributes", &F::attributes, "of what comes back as a copy", unusual},
       {"object", &F::object, "its content in the store; null if it was not kept"},
       {"tmpfs", &F::on_tmpfs, "it was in a tmpfs, or is shared memory; missing: no", unusual},
       {"huge_page_size", &F::huge_page_bytes,
        "only for files in a hugetlbfs, memfds among them: in bytes, a power of two of which "
        "`size` is a multiple",
        unusual}},
      check_file};
  return fields;
}

KeptFile describe_file(const struct stat& status, const std::string& path, bool deleted) {
  KeptFile file;
  file.path = path;
  file.deleted = deleted;
  file.device = status.st_dev;
  file.inode = status.st_ino;
  file.size_bytes = static_cast<std::uint64_t>(status.st_size);
  file.mtime_ns = nanoseconds(status.st_mtim);
  file.ctime_ns = nanoseconds(status.st_ctim);
  file.mode = status.st_mode & 0777U;
  file.uid = status.st_uid;
  file.gid = status.st_gid;
  return file;
}

std::string memfd_name(const KeptFile& file) {
  constexpr std::string_view kPrefix = "/memfd:";
  return file.in_memory ? file.path.substr(std::min(kPrefix.size(), file.path.size()))
                        : store::object_name(file.path);
}

bool is_small_enough(const struct stat& status, bool written, std::uint64_t limit_bytes) {
  constexpr std::uint64_t kTimes = 16;
  constexpr std::uint64_t kBlockBytes = 512;  // of st_blocks
  if (static_cast<std::uint64_t>(status.st_size) <= limit_bytes) return true;
  return written &&
         static_cast<std::uint64_t>(status.st_blocks) * kBlockBytes / kTimes <= limit_bytes;
}

std::string too_large_text(const std::string& path, bool written) {
  return fmt::format(
      "{} is larger than the limit for keeping files: it must be unchanged at the "
      "restore{}",
      path, written ? ", and the program writes to it" : "");
}

Found look_for(const KeptFile& file, bool by_content) {
  struct stat status {};
  if (file.deleted || ::stat(file.path.c_str(), &status) != 0 || !S_ISREG(status.st_mode))
    return Found::missing;
  const KeptFile now = describe_file(status, file.path, false);
  if (now.size_bytes != file.size_bytes) return Found::changed;
  const bool same_file =
      now.device == file.device && now.inode == file.inode && now.mtime_ns == file.mtime_ns;
  // Times are no proof where the content matters: a store through a shared mapping may leave them
  // as they were until the page is written back.
  const bool small = file.object && file.size_bytes <= kSmallBytes;
  if (same_file && now.ctime_ns == file.ctime_ns && !(by_content && small)) return Found::same;
  // Touched, moved to another disk, or renamed: only the content can tell.
  if (!file.object) return same_file ? Found::same : Found::changed;
  const UniqueFd fd = open_quietly(file.path);
  if (!fd) return Found::unreadable;
  return has_digest(fd.get(), file.path, file.object->hash) ? Found::same : Found::changed;
}

std::string_view found_text(Found found) noexcept {
  switch (found) {
    case Found::same: return "is as it was";
    case Found::changed: return "has changed";
    case Found::missing: return "is gone";
    case Found::unreadable: return "may not be opened any more";
  }
  return "";
}

}  // namespace ckpt::state
