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

image::Json object_to_json(const store::ObjectRef& object) {
  return {{"hash", object.hash}, {"size", object.size_bytes}, {"name", object.name}};
}

store::ObjectRef object_from_json(const image::Json& json) {
  store::ObjectRef object;
  object.hash = json.at("hash");
  object.size_bytes = json.at("size");
  object.name = json.at("name");
  return object;
}

image::Json kept_file_to_json(const KeptFile& file) {
  image::Json json = {{"path", file.path},
                      {"deleted", file.deleted},
                      {"in_memory", file.in_memory},
                      {"seals", file.seals},
                      {"device", file.device},
                      {"inode", file.inode},
                      {"size", file.size_bytes},
                      {"mtime_ns", file.mtime_ns},
                      {"ctime_ns", file.ctime_ns},
                      {"object", file.object ? object_to_json(*file.object) : image::Json()}};
  if (file.on_tmpfs) json["tmpfs"] = true;
  if (file.huge_page_bytes != 0) json["huge_page_size"] = file.huge_page_bytes;
  if (file.mode) {
    json["mode"] = *file.mode;
    json["uid"] = file.uid;
    json["gid"] = file.gid;
  }
  if (file.attributes) json["attributes"] = file_attributes_to_json(*file.attributes);
  return json;
}

KeptFile kept_file_from_json(const image::Json& json) {
  KeptFile file;
  file.path = json.at("path");
  file.deleted = json.at("deleted");
  file.in_memory = json.at("in_memory");
  file.seals = json.at("seals");
  file.on_tmpfs = json.value("tmpfs", false);
  file.device = json.at("device");
  file.inode = json.at("inode");
  file.size_bytes = json.at("size");
  file.mtime_ns = json.at("mtime_ns");
  file.ctime_ns = json.at("ctime_ns");
  if (!json.at("object").is_null()) file.object = object_from_json(json.at("object"));
  if (json.contains("mode")) {
    file.mode = json.at("mode").get<std::uint32_t>();
    file.uid = json.at("uid");
    file.gid = json.at("gid");
    // Another user's snapshot must not make set-user-id files here.
    if ((*file.mode & ~0777U) != 0) image::damaged("the permissions of a file");
  }
  if (json.contains("attributes"))
    file.attributes = file_attributes_from_json(json.at("attributes"));
  file.huge_page_bytes = huge_page_from_json(json, "huge_page_size");
  if (file.huge_page_bytes != 0 &&
      (file.size_bytes % file.huge_page_bytes != 0 ||
       (file.object && file.object->size_bytes % file.huge_page_bytes != 0)))
    image::damaged("a file of huge pages");
  return file;
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
