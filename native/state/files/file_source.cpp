#include "state/files/file_source.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/error.hpp"
#include "base/io.hpp"
#include "base/option.hpp"
#include "state/files/huge_pages.hpp"
#include "state/files/sandbox.hpp"
#include "store/directory.hpp"

namespace ckpt::state {

namespace {

// The first ones, and how many more there are.
std::string in_few_words(const std::set<std::string>& paths) {
  constexpr std::size_t kShown = 3;
  std::string text;
  std::size_t shown = 0;
  for (const auto& path : paths) {
    if (shown == kShown) break;
    text += (shown++ == 0 ? "" : ", ") + path;
  }
  if (paths.size() > shown) text += fmt::format(" and {} more", paths.size() - shown);
  return text;
}

// As far as this user may say so. What cannot be had is named in the result.
std::string look_as_saved(int fd, const KeptFile& file) {
  if (!file.mode) return "";
  std::string failed = file.attributes ? set_file_attributes(fd, *file.attributes) : "";
  if (::fchown(fd, file.uid, file.gid) != 0 && errno != EPERM && errno != EINVAL)
    throw_errno(fmt::format("the owner of {}", file.path), errno);
  ::fchmod(fd, *file.mode);
  const auto time = [](std::int64_t nanoseconds) {
    return timespec{nanoseconds / kNanosecondsPerSecond, nanoseconds % kNanosecondsPerSecond};
  };
  const std::array<timespec, 2> times = {
      file.attributes ? time(file.attributes->atime_ns) : timespec{0, UTIME_OMIT},
      time(file.mtime_ns)};
  ::futimens(fd, times.data());
  if (file.attributes && !set_file_flags(fd, *file.attributes))
    failed += failed.empty() ? "flags (lsattr(1))" : ", flags (lsattr(1))";
  return failed;
}

void make_directories_above(const std::string& path) {
  for (auto slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1))
    if (::mkdir(path.substr(0, slash).c_str(), 0777) != 0 && errno != EEXIST)
      throw_errno(fmt::format("sandbox: make {}", path.substr(0, slash)), errno);
}

}  // namespace

FileSource::FileSource(std::vector<store::Objects> stores, RestoreOptions options)
    : stores_(std::move(stores)), options_(std::move(options)) {}

std::string FileSource::key(const KeptFile& file) {
  // Two names that one file had are one file still when both are removed.
  return fmt::format("{}:{}:{}", file.device, file.inode, file.deleted ? "" : file.path);
}

std::string FileSource::copy_key(const KeptFile& file) {
  return fmt::format("{}:{}", file.device, file.inode);
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
  // No other program has a file without a name: what it was is what it is.
  if (file.deleted) {
    choice.scratch = true;
    if (!find_object(file))
      fail(ErrorKind::files, "{} had no name, and its content {}", file.path,
           file.object ? "is no longer in the store" : "was not kept");
    return choices.emplace(name, choice).first->second;
  }
  choice.scratch = decide(file, use);
  return choices.emplace(name, choice).first->second;
}

bool FileSource::decide(const KeptFile& file, Use use) {
  const FilesMode mode = use == Use::data ? options_.files : FilesMode::automatic;
  const bool together = use == Use::data && written_.contains(key(file));
  // Not even looked into then: to open a file breaks a lease that the other one may have.
  if (together && has_neighbours_ && together_ != Together::real && find_object(file))
    return together_ == Together::private_copies;
  // Code is not written to through a mapping, so the times will do for it.
  const Found found = look(file, use == Use::data);
  if (mode == FilesMode::real) {
    if (found == Found::missing || found == Found::unreadable)
      fail(ErrorKind::files, "{} {}: give another with {}=NEW, or use {}", file.path,
           found_text(found), option("file " + file.path), option("files auto"));
    return false;
  }
  if (mode == FilesMode::strict && found != Found::same)
    fail(ErrorKind::files, "{} {} since the snapshot, and {} was asked for", file.path,
         found_text(found), option("files strict"));
  const bool apart = together && together_ != Together::real;
  if (mode != FilesMode::private_copies && found == Found::same && !apart) return false;
  // What is as it was can be copied from the file itself.
  if (!find_object(file) && !(apart && found == Found::same)) {
    if (file.object)
      fail(ErrorKind::files, "{} {}, and its copy is no longer in the store", file.path,
           found_text(found));
    fail(ErrorKind::files,
         "{} {} since the snapshot, and its content was not kept (see set ckpt file-limit): "
         "put the file back, or use {}",
         file.path, found_text(found), option("files real"));
  }
  if (together && together_ == Together::sandbox) return false;
  if (use == Use::data) note_private_copy(file, found);
  return true;
}

void FileSource::note_private_copy(const KeptFile& file, Found found) {
  if (options_.files == FilesMode::private_copies)
    note(fmt::format("{}: the program gets a private copy, as asked", file.path));
  else if (found != Found::same && !(written_.contains(key(file)) && together_ != Together::real))
    note(fmt::format("{} {} since the snapshot: the program gets a private copy of what it was",
                     file.path, found_text(found)));
}

Found FileSource::look(const KeptFile& file, bool by_content) {
  const std::pair name(key(file), by_content);
  auto known = looks_.find(name);
  if (known == looks_.end()) known = looks_.emplace(name, look_for(file, by_content)).first;
  const int needed = written_.contains(key(file)) ? R_OK | W_OK : R_OK;
  if (known->second == Found::same && ::access(file.path.c_str(), needed) != 0)
    return Found::unreadable;
  return known->second;
}

// --- What a program writes to comes back together

bool FileSource::comes_back_with_others(const KeptFile& file) const {
  return !file.deleted && !options_.replaced_files.contains(file.path);
}

void FileSource::decide_together(const Written& written, const Neighbours& neighbours) {
  original_runs_ = neighbours.original.has_value();
  has_neighbours_ = neighbours.any();
  for (const auto& [file, mapped] : written.files) writable_.insert(key(*file));
  const FilesMode mode = options_.files;
  if (mode == FilesMode::real || mode == FilesMode::private_copies) return;
  for (const auto& [file, mapped] : written.files) {
    if (!comes_back_with_others(*file)) continue;
    written_.emplace(key(*file), file);
    if (!has_neighbours_) continue;
    if (mode == FilesMode::strict)
      fail(ErrorKind::files, "{} would be written to, and {} was asked for, but {}", file->path,
           option("files strict"), neighbours.text());
    // A store into a mapping need not have changed the times of the file yet.
    if (mapped && !file->object)
      fail(ErrorKind::files,
           "{}: {}, and a copy of what the file was cannot be made, since its content was not kept "
           "(see set ckpt file-limit): use {}",
           file->path, neighbours.text(), option("files real"));
  }
  if (mode == FilesMode::strict) return;
  reason_ = neighbours.text();
  for (const auto& [name, file] : written_) {
    if (!reason_.empty()) break;
    if (const Found found = look(*file, true); found != Found::same)
      reason_ = fmt::format("{} {} since the snapshot", file->path, found_text(found));
  }
  if (mode == FilesMode::sandbox)
    reason_ = "as asked";
  else if (reason_.empty() || (written_.empty() && written.directories.empty()))
    return;
  std::set<std::string> wanted = written.directories;
  for (const auto& [name, file] : written_)
    wanted.insert(file->path.substr(0, file->path.rfind('/')));
  try {
    if (const std::string why_not = why_no_sandbox(); !why_not.empty())
      fail(ErrorKind::refused, "sandbox: {}", why_not);
    for (const auto& [name, file] : written_)
      if (struct stat status{};
          ::lstat(file->path.c_str(), &status) == 0 && S_ISDIR(status.st_mode))
        fail(ErrorKind::files, "sandbox: {} is a directory by now", file->path);
    covered_ = directories_to_cover(wanted);
    together_ = Together::sandbox;
  } catch (const Error& error) {
    if (mode == FilesMode::sandbox) throw;
    make_private(error.what());
  }
}

std::string FileSource::names_of_written() const {
  std::set<std::string> paths;
  for (const auto& [name, file] : written_) paths.insert(file->path);
  return in_few_words(paths);
}

void FileSource::make_private(const std::string& why_no_sandbox) {
  together_ = Together::private_copies;
  covered_.clear();
  data_choices_.clear();
  if (written_.empty()) return;
  note(fmt::format(
      "{}: the program gets private copies of {}; by name it finds the files of now ({})", reason_,
      names_of_written(), why_no_sandbox));
}

const std::map<int, UniqueFd>& FileSource::open_streams() {
  for (const auto& [stream, path] : options_.streams) {
    UniqueFd& fd = streams_[stream];
    if (fd) continue;
    // O_EXCL: never an existing file of the user; other existing things are opened as they are.
    struct stat status {};
    const bool exists = ::stat(path.c_str(), &status) == 0;
    const int flags = stream == 0 ? O_RDONLY : exists ? O_WRONLY : O_WRONLY | O_CREAT | O_EXCL;
    fd = open_file(path, flags | O_NOCTTY, 0666);
  }
  return streams_;
}

void FileSource::enter_sandbox() {
  if (together_ != Together::sandbox || std::exchange(entered_, true)) return;
  open_streams();
  std::string place = "/tmp";
  for (const auto& store : stores_)
    if (const std::string scratch = store::Layout{store.directory()}.scratch();
        ::access(scratch.c_str(), W_OK) == 0)
      place = scratch;
  try {
    overlays_ = state::enter_sandbox(covered_, place);
  } catch (const Error& error) {
    if (options_.files == FilesMode::sandbox) throw;
    make_private(error.what());
    return;
  }
  std::map<std::string, std::string> first_names;
  for (const auto& [name, file] : written_) put_as_saved(*file, first_names);
  note(
      fmt::format("{}: the program gets its files as they were, in a sandbox over {} ({}: the "
                  "files themselves)",
                  reason_, in_few_words(covered_), option("files real")));
}

bool FileSource::has_other_names(const KeptFile& file) const {
  return std::count_if(written_.begin(), written_.end(), [&](const auto& entry) {
           return copy_key(*entry.second) == copy_key(file);
         }) > 1;
}

// Over the file as it is now, which may be what it was: then it stays, unless another process might
// go on writing to it.
// Names of one file stay that: an overlay would make a file of its own of each that is written to.
void FileSource::put_as_saved(const KeptFile& file,
                              std::map<std::string, std::string>& first_names) {
  const auto kept = find_object(file);
  const bool has_others = has_other_names(file);
  if (!kept || (!has_neighbours_ && !has_others && look(file, true) == Found::same)) return;
  const UniqueFd from = open_file(*kept, O_RDONLY);
  const auto slash = file.path.rfind('/');
  make_directories_above(file.path);
  const UniqueFd directory = open_file(file.path.substr(0, slash), O_PATH | O_DIRECTORY);
  struct stat status {};
  if (::fstat(directory.get(), &status) != 0 || !overlays_.contains(status.st_dev))
    fail(ErrorKind::refused, "sandbox: {} is not covered", file.path);  // never a file of the user
  const std::string name = file.path.substr(slash + 1);
  // A file of its own, whichever program the other one belongs to.
  if (::unlinkat(directory.get(), name.c_str(), 0) != 0 && errno != ENOENT)
    throw_errno(fmt::format("sandbox: replace {}", file.path), errno);
  const auto [first, is_first] = first_names.emplace(copy_key(file), file.path);
  if (!is_first) {
    if (::linkat(AT_FDCWD, first->second.c_str(), directory.get(), name.c_str(), 0) == 0) return;
    note(fmt::format("{} and {} were one file and are two ({})", first->second, file.path,
                     describe_errno(errno)));
  }
  const UniqueFd to(
      ::openat(directory.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!to) throw_errno(fmt::format("sandbox: make {}", file.path), errno);
  copy_content(from.get(), to.get(), file.object->size_bytes, file.path);
  look_as_saved(to.get(), file);
}

bool FileSource::in_sandbox(const std::string& path) const {
  return entered_ && std::any_of(covered_.begin(), covered_.end(), [&](const std::string& covered) {
           return path.starts_with(covered + "/");
         });
}

bool FileSource::apart(const std::string& path) const {
  return original_runs_ && options_.files != FilesMode::real && !in_sandbox(path);
}

void FileSource::note(const std::string& text) {
  if (std::find(notes_.begin(), notes_.end(), text) == notes_.end()) notes_.push_back(text);
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
  UniqueFd& slot = scratch_[copy_key(file)];
  if (slot) return slot.get();
  const std::string source = find_object(file).value_or(file.path);
  // F_SEAL_SEAL is what all have that were not to be sealed.
  const bool may_seal = file.in_memory && file.seals != F_SEAL_SEAL;
  const unsigned flags = MFD_CLOEXEC | (may_seal ? MFD_ALLOW_SEALING : 0U);
  copied_[copy_key(file)] = file;
  if (file.huge_page_bytes != 0) {
    slot = make_huge_copy(file, source, flags);
    if (slot) return slot.get();
  }
  const UniqueFd from = open_file(source, O_RDONLY);
  // A program may ask in what file system its shared memory is (fstatfs(2)).
  if (file.in_memory || file.on_tmpfs) slot.reset(::memfd_create(memfd_name(file).c_str(), flags));
  for (const auto& store : stores_) {
    if (slot) break;
    const std::string directory = store::Layout{store.directory()}.scratch();
    slot.reset(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  }
  if (!slot) slot.reset(::memfd_create(memfd_name(file).c_str(), MFD_CLOEXEC));
  if (!slot) throw_errno(fmt::format("make a private copy of {}", file.path), errno);
  copy_content(from.get(), slot.get(), file.object ? file.object->size_bytes : file.size_bytes,
               file.path);
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
  if (file.huge_page_bytes == 0 || scratch_.erase(copy_key(file)) == 0) return false;
  if (!ordinary_pages_.insert(key(file)).second) return false;
  note(ordinary_pages_note(file.path, file.huge_page_bytes));
  return true;
}

void FileSource::restore_attributes() {
  for (const auto& [name, file] : copied_) {
    const int fd = scratch_.at(name).get();
    if (const std::string failed = look_as_saved(fd, file); !failed.empty())
      note(fmt::format("{}: the program's copy cannot have: {}", file.path, failed));
    if (file.in_memory && file.seals != 0) ::fcntl(fd, F_ADD_SEALS, static_cast<int>(file.seals));
  }
}

void FileSource::let_go() {
  scratch_.clear();
  copied_.clear();
}

// What is written by a descriptor or a shared mapping shows in a private one where the program has
// not written by that: all must lead to one file.
bool FileSource::is_written_elsewhere(const KeptFile& file) {
  return writable_.contains(key(file)) &&
         (choose(file, Use::data).scratch || in_sandbox(file.path));
}

UniqueFd FileSource::open_description(const KeptFile& file, int flags) {
  constexpr int kSettable = O_APPEND | O_NONBLOCK | O_NOATIME;
  const bool has_mark = file.in_memory || (flags & O_TMPFILE) == O_TMPFILE;
  const bool is_first = has_mark && (flags & (O_ACCMODE | O_PATH)) == O_RDWR &&
                        choose(file, Use::data).scratch && given_.insert(copy_key(file)).second;
  if (!is_first) return open(file, Use::data, flags);
  UniqueFd fd = duplicate(scratch_copy(file), file.path);
  ::fcntl(fd.get(), F_SETFL, flags & kSettable);
  return fd;
}

UniqueFd FileSource::open(const KeptFile& file, Use use, int flags) {
  if (use == Use::code && is_written_elsewhere(file)) return open(file, Use::data, flags);
  const Choice& choice = choose(file, use);
  // Creating and truncating happened long before the save; they must not happen again. (A file that
  // came from O_TMPFILE is an ordinary one by now; the flag would ask for a directory.)
  const int again = flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_TMPFILE);
  // So did refusing links: what is one now (or is our own, below) was none then.
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
