#include "state/files/file_attributes.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>

#include <algorithm>
#include <string_view>

#include "base/error.hpp"
#include "proc/text.hpp"

namespace ckpt::state {

namespace {

using image::Json;

constexpr std::uint32_t kSettableFlags =
    FS_SYNC_FL | FS_IMMUTABLE_FL | FS_APPEND_FL | FS_NODUMP_FL | FS_NOATIME_FL;
constexpr std::string_view kUser = "user.";
// It is given by the system's policy.
constexpr std::string_view kPolicy = "security.selinux";

std::int64_t in_nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * kNanosecondsPerSecond + time.tv_nsec;
}

std::string value_of(int fd, const std::string& name) {
  std::string value(XATTR_SIZE_MAX, '\0');
  const ssize_t got = ::fgetxattr(fd, name.c_str(), value.data(), value.size());
  value.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return value;
}

std::vector<std::string> extended_names(int fd) {
  std::string list(XATTR_LIST_MAX, '\0');
  const ssize_t got = ::flistxattr(fd, list.data(), list.size());
  std::vector<std::string> names;
  std::string_view rest(list.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  while (!rest.empty()) names.emplace_back(proc::cut(rest, '\0'));
  return names;
}

void add_word(std::string& text, std::string_view word) {
  if (!text.empty()) text += ", ";
  text += word;
}

}  // namespace

FileAttributes read_file_attributes(CaptureContext& context, const std::string& object,
                                    const std::string& path, int fd, const struct stat& status) {
  FileAttributes attributes;
  attributes.atime_ns = in_nanoseconds(status.st_atim);
  std::string left_out;
  // A program of less privilege could execute its copy.
  if ((status.st_mode & (S_ISUID | S_ISGID)) != 0) add_word(left_out, "set-user-id, set-group-id");
  if ((status.st_mode & S_ISVTX) != 0) add_word(left_out, "the sticky bit");
  std::uint64_t hint = 0;
  if (fd >= 0 && ::fcntl(fd, F_GET_RW_HINT, &hint) == 0) attributes.write_hint = hint;
  int flags = 0;
  if (fd >= 0 && ::ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0)
    attributes.flags = static_cast<std::uint32_t>(flags) & kSettableFlags;
  for (const auto& name : fd >= 0 ? extended_names(fd) : std::vector<std::string>()) {
    if (name.starts_with(kUser))
      attributes.extended.push_back({name, value_of(fd, name)});
    else if (name != kPolicy)
      add_word(left_out, name);
  }
  if (!left_out.empty())
    context.report.add(Severity::changed, object, "file",
                       fmt::format("{} has no name and comes back without: {}", path, left_out));
  return attributes;
}

const image::Fields<ExtendedAttribute>& fields_of(const ExtendedAttribute* /*type*/) {
  static const image::Fields<ExtendedAttribute> fields = {
      "extended_attribute",
      {{"name", &ExtendedAttribute::name, "begins with `user.`"},
       image::Field<ExtendedAttribute>::as<image::Bytes>("value", &ExtendedAttribute::value, "")},
      [](ExtendedAttribute& attribute) {
        if (!attribute.name.starts_with(kUser)) image::damaged("an attribute of a file");
      }};
  return fields;
}

const image::Fields<FileAttributes>& fields_of(const FileAttributes* /*type*/) {
  static const image::Fields<FileAttributes> fields = {
      "file_attributes",
      {{"atime_ns", &FileAttributes::atime_ns, "nanoseconds since 1970"},
       {"write_hint", &FileAttributes::write_hint, "F_SET_RW_HINT, 0 if not set"},
       {"flags", &FileAttributes::flags,
        "FS_IOC_SETFLAGS: sync, immutable, append, nodump, noatime"},
       {"extended", &FileAttributes::extended, ""}},
      [](FileAttributes& attributes) {
        if ((attributes.flags & ~kSettableFlags) != 0) image::damaged("the flags of a file");
      }};
  return fields;
}

std::string set_file_attributes(int fd, const FileAttributes& attributes) {
  std::string failed;
  for (const auto& [name, value] : attributes.extended)
    if (::fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) != 0) add_word(failed, name);
  std::uint64_t hint = attributes.write_hint;
  if (hint != 0 && ::fcntl(fd, F_SET_RW_HINT, &hint) != 0) add_word(failed, "F_SET_RW_HINT");
  return failed;
}

bool set_file_flags(int fd, const FileAttributes& attributes) {
  if (attributes.flags == 0) return true;
  int flags = 0;
  ::ioctl(fd, FS_IOC_GETFLAGS, &flags);
  flags |= static_cast<int>(attributes.flags);
  return ::ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
}

}  // namespace ckpt::state
