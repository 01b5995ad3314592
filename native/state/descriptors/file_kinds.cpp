#include "state/descriptors/file_kinds.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/error.hpp"
#include "base/io.hpp"
#include "state/descriptors/kinds.hpp"
#include "state/files/stateless_devices.hpp"
#include "state/surroundings/other_process.hpp"

namespace ckpt::state {

namespace {

// What open(2) did at the time, and must not do again.
constexpr int kOnlyOnce = O_CREAT | O_EXCL | O_TRUNC;

}  // namespace

int own_stream(const Description& description) {
  if (description.kind == &kinds::kTerminal) {
    if (description.stream >= 0 && ::isatty(description.stream) == 1) return description.stream;
    for (int fd = 0; fd <= 2; ++fd)
      if (::isatty(fd) == 1) return fd;
  }
  if (description.stream >= 0) return description.stream;
  return reads_only(description.flags) ? 0 : 1;
}

UniqueFd open_own_stream(const Description& description) {
  const int stream = own_stream(description);
  if (::isatty(stream) == 1) {
    // A description of its own, so that the program's O_NONBLOCK is not the debugger's.
    const int again = static_cast<int>(description.flags) & ~(kOnlyOnce | O_NOFOLLOW);
    const std::string path = description.path == "/dev/tty"
                                 ? std::string("/dev/tty")
                                 : fmt::format("/proc/self/fd/{}", stream);
    if (UniqueFd fd{::open(path.c_str(), again | O_NOCTTY | O_CLOEXEC)}) return fd;
  }
  UniqueFd fd(::fcntl(stream, F_DUPFD_CLOEXEC, 3));
  if (!fd) fd = open_file("/dev/null", O_RDWR);  // our own is closed
  return fd;
}

namespace {

UniqueFd open_again(const Description& description) {
  const int flags = static_cast<int>(description.flags) & ~kOnlyOnce;
  // It may be another thing by now: the open must not wait for the other end of a FIFO.
  UniqueFd fd = open_file(description.path, flags | O_NOCTTY | O_NONBLOCK);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) throw_errno(fmt::format("stat {}", description.path), errno);
  if ((description.as<RemovedEntry>() != nullptr) && !S_ISDIR(status.st_mode))
    throw_errno(fmt::format("open {}", description.path), ENOTDIR);
  if (S_ISFIFO(status.st_mode) && (flags & O_PATH) == 0)
    fail(ErrorKind::files, "{}: it is a FIFO by now, and was none at the save", description.path);
  const int now = ::fcntl(fd.get(), F_GETFL);
  if ((flags & (O_NONBLOCK | O_PATH)) == 0) ::fcntl(fd.get(), F_SETFL, now & ~O_NONBLOCK);
  return fd;
}

UniqueFd open_nothing() {
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) throw_errno("make a socket", errno);
  return open_file(fmt::format("/proc/self/fd/{}", socket.get()), O_PATH);
}

std::string name_in_notes(const Description& description, const Opening& opening) {
  const auto* first = opening.table.descriptions.data();
  return description_name(opening.table, static_cast<std::size_t>(&description - first));
}

UniqueFd open_nothing_for(const std::string& object, const Error& why, const Opening& opening) {
  opening.files.note(
      fmt::format("{}: {}: every use of the descriptor fails with EBADF", object, why.what()));
  return open_nothing();
}

// What had no name any more, or has none: it is made once more. Only the privileged may make
// devices, but those that are known are everywhere.
UniqueFd open_removed(const RemovedEntry& entry, const Description& description,
                      const Opening& opening) {
  const int flags =
      (static_cast<int>(description.flags) & ~kOnlyOnce) | (S_ISDIR(entry.mode) ? O_DIRECTORY : 0);
  try {
    return opening.removed.open(entry, description.path, flags);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::system) throw;
    const char* usual = S_ISCHR(entry.mode) ? stateless_device(entry.number) : nullptr;
    if (usual == nullptr)
      return open_nothing_for(name_in_notes(description, opening), error, opening);
    opening.files.note(fmt::format("{}: {}: it is {}", description.path, error.what(), usual));
    return open_file(usual, flags);
  }
}

UniqueFd open_path(const Description& description, const Opening& opening) {
  FileSource& files = opening.files;
  const std::string object = name_in_notes(description, opening);
  const int flags = static_cast<int>(description.flags) & ~kOnlyOnce;
  if (const auto* process = description.as<Identity>()) {
    bool gone = false;
    UniqueFd fd = open_of_process(description.path, *process, flags, gone);
    if (gone && process->start_ticks != 0)
      files.note(fmt::format("{}: process {} has ended since the save: {} tells nothing any more",
                             object, process->pid, description.path));
    return fd;
  }
  try {
    return open_again(description);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::system) throw;
    const auto* directory = description.as<RemovedEntry>();
    if (directory == nullptr) return open_nothing_for(object, error, opening);
    files.note(fmt::format("{}: {}: an empty directory without a name is in its place", object,
                           error.what()));
    return open_removed(*directory, description, opening);
  }
}

// With the offset that it had.
UniqueFd at_offset(UniqueFd fd, const Description& description) {
  ::lseek(fd.get(), static_cast<off_t>(description.offset_bytes), SEEK_SET);
  return fd;
}

UniqueFd open_removed_entry(const Description& description, const Opening& opening) {
  return open_removed(description.get<RemovedEntry>(), description, opening);
}

UniqueFd open_stream(const Description& description, const Opening& /*opening*/) {
  return open_own_stream(description);
}

int open_own_proc(const Description& description, const Making& making) {
  RestoreContext& inferior = making.inferior;
  const IdChange& ids = making.ids;
  // "/proc/PID/..." is "/proc/self/..."; a thread has its own number further on.
  constexpr std::size_t kProcBytes = 6;
  const auto rest = description.path.find('/', kProcBytes);
  std::string path = "/proc/self";
  if (rest != std::string::npos) path += description.path.substr(rest);
  constexpr std::string_view kTask = "/proc/self/task/";
  if (path.starts_with(kTask)) {
    const auto end = std::min(path.find('/', kTask.size()), path.size());
    const Tid saved = std::atoi(path.substr(kTask.size(), end - kTask.size()).c_str());
    path = fmt::format("{}{}{}", kTask, ids.thread(saved), path.substr(end));
  }
  const auto at = inferior.put_string(path);
  const auto flags = description.flags & ~static_cast<std::uint32_t>(kOnlyOnce);
  const int fd = inferior.open("open", SYS_openat, {AT_FDCWD, at, flags, 0});
  inferior.attempt(SYS_lseek, {fd, description.offset_bytes, SEEK_SET});
  return fd;
}

// What a path is of, if it is not only a name.
constexpr DetailsForm kPathDetails = {
    [](const std::any& details) {
      if (const auto* process = std::any_cast<Identity>(&details)) return image::encode(*process);
      return image::encode(std::any_cast<const RemovedEntry&>(details));
    },
    [](const image::Json& json) -> std::any {
      if (json.is_null()) return {};
      if (json.contains("pid")) return image::decode<Identity>(json);
      return image::decode<RemovedEntry>(json);
    },
    [](image::Catalog& catalog) -> image::Json {
      return {{"either", image::Json::array({image::Codec<Identity>::type(catalog),
                                             image::Codec<RemovedEntry>::type(catalog)})}};
    }};

}  // namespace

int make_nothing(RestoreContext& inferior) {
  const int socket = inferior.open("socket", SYS_socket, {AF_UNIX, SOCK_STREAM, 0});
  const auto path = inferior.put_string(fmt::format("/proc/self/fd/{}", socket));
  const int fd = inferior.open("open", SYS_openat, {AT_FDCWD, path, O_PATH, 0});
  inferior.close(socket);
  return fd;
}

const DescriptorKind kinds::kFile = {
    .name = "file",
    .open =
        [](const Description& description, const Opening& opening) {
          return at_offset(opening.files.open_description(*description.file,
                                                          static_cast<int>(description.flags)),
                           description);
        },
    .is_file = true};

const DescriptorKind kinds::kPath = {
    .name = "path",
    .details = &kPathDetails,
    .open =
        [](const Description& description, const Opening& opening) {
          return at_offset(open_path(description, opening), description);
        },
    .is_file = true};

const DescriptorKind kinds::kRemovedDirectory = {
    .name = "removed_directory",
    .details = &kDetails<RemovedEntry>,
    .open =
        [](const Description& description, const Opening& opening) {
          return at_offset(open_removed_entry(description, opening), description);
        },
    .is_file = true};

const DescriptorKind kinds::kRemovedEntry = {.name = "removed_entry",
                                             .details = &kDetails<RemovedEntry>,
                                             .open = open_removed_entry,
                                             .is_file = true};

const DescriptorKind kinds::kOwnProc = {.name = "own_proc", .make = open_own_proc};

const DescriptorKind kinds::kTerminal = {.name = "terminal", .open = open_stream};

const DescriptorKind kinds::kStream = {.name = "stream", .open = open_stream};

// Every use of it fails: there is nothing below it, and even by /proc it cannot be opened again.
const DescriptorKind kinds::kLost = {
    .name = "lost", .open = [](const Description& /*description*/, const Opening& /*opening*/) {
      return open_nothing();
    }};

}  // namespace ckpt::state
