#include "state/kept_file.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/io.hpp"
#include "state/huge_pages.hpp"

namespace ckpt::state {

namespace {

// What is read in a few milliseconds.
constexpr std::uint64_t kSmallBytes = 16U << 20U;

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

image::Json object_to_json(const image::ObjectRef& object) {
  return {{"hash", object.hash}, {"size", object.size_bytes}, {"name", object.name}};
}

image::ObjectRef object_from_json(const image::Json& json) {
  image::ObjectRef object;
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
  if (file.huge_page_bytes != 0) json["huge_page_size"] = file.huge_page_bytes;
  return json;
}

KeptFile kept_file_from_json(const image::Json& json) {
  KeptFile file;
  file.path = json.at("path");
  file.deleted = json.at("deleted");
  file.in_memory = json.at("in_memory");
  file.seals = json.at("seals");
  file.device = json.at("device");
  file.inode = json.at("inode");
  file.size_bytes = json.at("size");
  file.mtime_ns = json.at("mtime_ns");
  file.ctime_ns = json.at("ctime_ns");
  if (!json.at("object").is_null()) file.object = object_from_json(json.at("object"));
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
  return file;
}

std::string memfd_name(const KeptFile& file) {
  constexpr std::string_view kPrefix = "/memfd:";
  return file.in_memory ? file.path.substr(std::min(kPrefix.size(), file.path.size()))
                        : image::object_name(file.path);
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
  const int fd = ::open(file.path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Found::unreadable;
  const UniqueFd owned(fd);
  std::uint64_t size_bytes = 0;
  return digest_file(fd, file.path, size_bytes) == file.object->hash ? Found::same : Found::changed;
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

FileSource::FileSource(std::vector<image::Objects> stores, RestoreOptions options)
    : stores_(std::move(stores)), options_(std::move(options)) {}

std::string FileSource::key(const KeptFile& file) {
  return fmt::format("{}:{}:{}", file.device, file.inode, file.path);
}

std::optional<std::string> FileSource::find_object(const KeptFile& file) const {
  if (!file.object) return std::nullopt;
  for (const auto& store : stores_)
    if (auto path = store.find(*file.object)) {
      if (!store.intact(*file.object))
        fail(ErrorKind::damaged, "{}: the store's copy {} is damaged", file.path, *path);
      return path;
    }
  return std::nullopt;
}

const FileSource::Choice& FileSource::choose(const KeptFile& file, Use use) {
  auto& choices = use == Use::data ? data_choices_ : code_choices_;
  const std::string name = key(file);
  if (const auto known = choices.find(name); known != choices.end()) return known->second;

  Choice choice{false, file.path};
  const auto replaced = options_.replaced_files.find(file.path);
  if (use == Use::data && replaced != options_.replaced_files.end()) {
    choice.path = replaced->second;
    replaced_.insert(file.path);
    struct stat status {};
    if (::stat(choice.path.c_str(), &status) != 0)
      fail(ErrorKind::files, "{} (in place of {}): {}", choice.path, file.path,
           describe_errno(errno));
    return choices.emplace(name, choice).first->second;
  }
  // Nobody else has a file without a name: what it was is what it is.
  if (file.deleted) {
    choice.scratch = true;
    if (!find_object(file))
      fail(ErrorKind::files, "{} had no name, and its content {}", file.path,
           file.object ? "is no longer in the store" : "was not kept");
    return choices.emplace(name, choice).first->second;
  }
  const FilesMode mode = use == Use::data ? options_.files : FilesMode::automatic;
  // Nobody writes to code through a mapping, so the times will do for it.
  const bool by_content = use == Use::data;
  auto look = looks_.find({name, by_content});
  if (look == looks_.end())
    look = looks_.emplace(std::pair(name, by_content), look_for(file, by_content)).first;
  Found found = look->second;
  if (found == Found::same && ::access(file.path.c_str(), R_OK) != 0) found = Found::unreadable;
  if (mode == FilesMode::real) {
    if (found == Found::missing || found == Found::unreadable)
      fail(ErrorKind::files, "{} {}: give another with -file {}=NEW, or use -files auto", file.path,
           found_text(found), file.path);
  } else if (mode == FilesMode::strict && found != Found::same) {
    fail(ErrorKind::files, "{} {} since the snapshot, and -files strict was asked for", file.path,
         found_text(found));
  } else if (mode == FilesMode::private_copies || found != Found::same) {
    choice.scratch = true;
    if (!find_object(file)) {
      if (file.object)
        fail(ErrorKind::files, "{} {}, and its copy is no longer in the store", file.path,
             found_text(found));
      fail(ErrorKind::files,
           "{} {} since the snapshot, and its content was not kept (see set ckpt file-limit): "
           "put the file back, or use -files real",
           file.path, found_text(found));
    }
    if (use == Use::data)
      notes_.push_back(
          mode == FilesMode::private_copies
              ? fmt::format("{}: the program gets a private copy, as asked", file.path)
              : fmt::format("{} {} since the snapshot: the program gets a private copy of what "
                            "it was",
                            file.path, found_text(found)));
  }
  return choices.emplace(name, choice).first->second;
}

void FileSource::check(const KeptFile& file, Use use) { choose(file, use); }

void FileSource::check_replacements() const {
  for (const auto& [old_path, new_path] : options_.replaced_files)
    if (!replaced_.contains(old_path))
      fail(ErrorKind::files,
           "{}: the program has no open file of that name to be replaced by {}: give the name that "
           "`ckpt info` shows",
           old_path, new_path);
}

bool FileSource::is_scratch(const KeptFile& file, Use use) { return choose(file, use).scratch; }

std::string FileSource::content_path(const KeptFile& file) {
  const Choice& choice = choose(file, Use::code);
  if (!choice.scratch) return choice.path;
  return find_object(file).value();  // choose() has made sure that it is there
}

int FileSource::scratch_copy(const KeptFile& file) {
  UniqueFd& slot = scratch_[key(file)];
  if (slot) return slot.get();
  const std::string source = find_object(file).value();
  // F_SEAL_SEAL is what all have that were not to be sealed.
  const bool may_seal = file.in_memory && file.seals != F_SEAL_SEAL;
  const unsigned flags = MFD_CLOEXEC | (may_seal ? MFD_ALLOW_SEALING : 0U);
  if (file.in_memory) seals_[key(file)] = file.seals;
  if (file.huge_page_bytes != 0) {
    slot = make_huge_copy(file, source, flags);
    if (slot) return slot.get();
  }
  const UniqueFd from = open_file(source, O_RDONLY);
  if (file.in_memory) slot.reset(::memfd_create(memfd_name(file).c_str(), flags));
  for (const auto& store : stores_) {
    if (slot) break;
    const std::string directory = store.directory() + "/scratch";
    slot.reset(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  }
  if (!slot) slot.reset(::memfd_create(memfd_name(file).c_str(), MFD_CLOEXEC));
  if (!slot) throw_errno(fmt::format("make a private copy of {}", file.path), errno);
  copy_content(from.get(), slot.get(), file.object->size_bytes, file.path);
  return slot.get();
}

UniqueFd FileSource::make_huge_copy(const KeptFile& file, const std::string& source,
                                    unsigned flags) {
  if (ordinary_pages_.contains(key(file))) return {};
  UniqueFd fd = make_huge_memfd(file, source, flags);
  if (!fd) {
    ordinary_pages_.insert(key(file));
    note(ordinary_pages_note(file.path, file.huge_page_bytes));
  }
  return fd;
}

bool FileSource::use_ordinary_pages(const KeptFile& file) {
  if (file.huge_page_bytes == 0 || scratch_.erase(key(file)) == 0) return false;
  if (!ordinary_pages_.insert(key(file)).second) return false;
  note(ordinary_pages_note(file.path, file.huge_page_bytes));
  return true;
}

void FileSource::seal() {
  for (const auto& [name, seals] : seals_)
    if (seals != 0) ::fcntl(scratch_.at(name).get(), F_ADD_SEALS, static_cast<int>(seals));
}

UniqueFd FileSource::open(const KeptFile& file, Use use, int flags) {
  const Choice& choice = choose(file, use);
  // Creating and truncating happened long before the save; they must not happen again. (A file that
  // came from O_TMPFILE is an ordinary one by now; the flag would ask for a directory.)
  const int again = flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_TMPFILE);
  // So did refusing links: what is one now (or is one of ours, below) was none then.
  const int through_links = again & ~O_NOFOLLOW;
  if (!choice.scratch) {
    UniqueFd fd(::open(choice.path.c_str(), again | O_CLOEXEC));
    if (!fd && errno == ELOOP) fd.reset(::open(choice.path.c_str(), through_links | O_CLOEXEC));
    if (fd) return fd;
    const int error_number = errno;
    if (use == Use::data && error_number == EACCES && options_.files == FilesMode::automatic &&
        find_object(file)) {
      notes_.push_back(fmt::format(
          "{} may not be opened any more: the program gets a private copy of what it was",
          file.path));
      data_choices_[key(file)].scratch = true;
      return open(file, use, flags);
    }
    throw_errno(fmt::format("open {}", choice.path), error_number);
  }
  if (use == Use::code && !file.in_memory && file.huge_page_bytes == 0)
    return open_file(find_object(file).value(), O_RDONLY);
  return open_file(fmt::format("/proc/self/fd/{}", scratch_copy(file)), through_links);
}

}  // namespace ckpt::state
