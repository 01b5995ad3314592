#include "state/descriptors.hpp"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <set>
#include <utility>

#include "base/error.hpp"
#include "base/io.hpp"

namespace ckpt::state {

namespace {

constexpr std::array<std::pair<DescriptionKind, std::string_view>, 6> kKinds = {{
    {DescriptionKind::file, "file"},
    {DescriptionKind::path, "path"},
    {DescriptionKind::terminal, "terminal"},
    {DescriptionKind::stream, "stream"},
    {DescriptionKind::pipe, "pipe"},
    {DescriptionKind::lost, "lost"},
}};

constexpr int kHighestFd = 1 << 20;

std::string fd_text(int fd) { return fmt::format("fd {}", fd); }

bool is_safe_device(dev_t device) {
  // null, zero, full, random, urandom: they have no state (Documentation/admin-guide/devices.txt)
  constexpr std::array<unsigned, 5> kMinors = {3, 5, 7, 8, 9};
  return gnu_dev_major(device) == 1 &&
         std::find(kMinors.begin(), kMinors.end(), gnu_dev_minor(device)) != kMinors.end();
}

bool is_terminal(dev_t device) {
  const unsigned major = gnu_dev_major(device);
  const unsigned minor = gnu_dev_minor(device);
  constexpr unsigned kPtsFirst = 136;
  constexpr unsigned kPtsLast = 143;
  constexpr unsigned kSerial = 204;
  constexpr unsigned kHypervisor = 229;
  return (major >= kPtsFirst && major <= kPtsLast) || major == 4 || (major == 5 && minor != 2) ||
         major == kSerial || major == kHypervisor;
}

bool writes_only(std::uint32_t flags) { return (flags & O_ACCMODE) == O_WRONLY; }
bool reads_only(std::uint32_t flags) { return (flags & O_ACCMODE) == O_RDONLY; }

struct Open {
  int fd = -1;
  std::string target;
  struct stat status {};
  proc::FdInfo info;
};

// Copies what is in a pipe without taking it out: one piece, or one for each packet.
std::vector<std::string> pipe_content(int reader, std::uint64_t capacity_bytes) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) throw_errno("pipe", errno);
  const UniqueFd out(ends[0]);
  const UniqueFd in(ends[1]);
  ::fcntl(in.get(), F_SETPIPE_SZ, static_cast<int>(capacity_bytes));
  std::vector<std::string> content;
  if (::tee(reader, in.get(), capacity_bytes, SPLICE_F_NONBLOCK) <= 0) return content;
  std::string buffer(std::max<std::uint64_t>(capacity_bytes, kPageSize), '\0');
  for (;;) {
    const ssize_t n = ::read(out.get(), buffer.data(), buffer.size());
    if (n <= 0) return content;
    content.push_back(buffer.substr(0, static_cast<std::size_t>(n)));
  }
}

class Capturer {
 public:
  explicit Capturer(CaptureContext& context) : context_(context) {}

  DescriptorTable run() {
    collect();
    DescriptorTable table;
    for (const Open& open : open_) {
      Descriptor descriptor;
      descriptor.fd = open.fd;
      descriptor.close_on_exec = (open.info.flags & O_CLOEXEC) != 0;
      const auto shared = find_shared(open);
      if (shared) {
        descriptor.description = *shared;
      } else {
        descriptor.description = table.descriptions.size();
        first_of_.push_back(&open);
        table.descriptions.push_back(describe(open));
      }
      table.descriptors.push_back(descriptor);
    }
    return table;
  }

 private:
  void collect() {
    tty_ = static_cast<dev_t>(context_.process.stat().tty_device);
    for (const int fd : context_.process.descriptors()) {
      Open open;
      open.fd = fd;
      open.target = context_.process.link(fmt::format("fd/{}", fd)).value_or("");
      if (::stat(context_.process.path(fmt::format("fd/{}", fd)).c_str(), &open.status) != 0)
        throw_errno(fmt::format("stat fd {} ({})", fd, open.target), errno);
      open.info = context_.process.fdinfo(fd);
      open_.push_back(std::move(open));
    }
  }

  // The index of the description that an earlier descriptor has in common with this one.
  std::optional<std::size_t> find_shared(const Open& open) const {
    for (std::size_t i = 0; i < first_of_.size(); ++i) {
      const Open& other = *first_of_[i];
      if (other.status.st_ino != open.status.st_ino || other.status.st_dev != open.status.st_dev)
        continue;
      if (::syscall(SYS_kcmp, context_.process.through(), context_.process.through(), KCMP_FILE,
                    static_cast<unsigned long>(other.fd), static_cast<unsigned long>(open.fd)) == 0)
        return i;
    }
    return std::nullopt;
  }

  Description describe(const Open& open) {
    Description description;
    description.path = open.target;
    description.flags = open.info.flags & ~static_cast<std::uint32_t>(O_CLOEXEC);
    description.offset_bytes = open.info.position_bytes;
    if (!open.info.locks.empty())
      context_.report.add(Severity::lost, fd_text(open.fd), "file lock",
                          fmt::format("the lock on {} is not taken again", open.target));
    if ((description.flags & O_PATH) != 0) {
      description.kind = DescriptionKind::path;
      return description;
    }
    switch (open.status.st_mode & S_IFMT) {
      case S_IFREG: describe_regular(open, description); break;
      case S_IFDIR: description.kind = DescriptionKind::path; break;
      case S_IFCHR: describe_device(open, description); break;
      case S_IFIFO: describe_pipe(open, description); break;
      case S_IFSOCK: describe_socket(open, description); break;
      default: lose(open, description, kind_of_target(open.target)); break;
    }
    return description;
  }

  static std::string kind_of_target(const std::string& target) {
    constexpr std::string_view kAnonymous = "anon_inode:";
    if (!target.starts_with(kAnonymous)) return target.substr(0, target.find(':'));
    std::string name = target.substr(kAnonymous.size());
    std::erase_if(name, [](char c) { return c == '[' || c == ']'; });
    return name;
  }

  void lose(const Open& open, Description& description, const std::string& kind) {
    description.kind = DescriptionKind::lost;
    context_.report.add(
        Severity::lost, fd_text(open.fd), kind,
        fmt::format("{} does not come back: every use of the descriptor fails with EBADF",
                    open.target));
  }

  void describe_regular(const Open& open, Description& description) {
    const std::string link = context_.process.path(fmt::format("fd/{}", open.fd));
    struct statfs system {};
    const bool known = ::statfs(link.c_str(), &system) == 0;
    if (known && (system.f_type == PROC_SUPER_MAGIC || system.f_type == SYSFS_MAGIC)) {
      if (open.target.starts_with(fmt::format("/proc/{}/", context_.process.pid())))
        return lose(open, description, "/proc file of the process");
      description.kind = DescriptionKind::path;
      return;
    }
    description.kind = DescriptionKind::file;
    constexpr std::string_view kDeleted = " (deleted)";
    const bool deleted = open.status.st_nlink == 0 && open.target.ends_with(kDeleted);
    std::string path = open.target;
    if (deleted) path.resize(path.size() - kDeleted.size());
    description.file = describe_file(open.status, path, deleted);
    if (description.file->size_bytes <= context_.file_limit_bytes) {
      if (const int fd = ::open(link.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); fd >= 0) {
        const UniqueFd owned(fd);
        description.file->object = context_.objects.keep(fd, path, false);
        return;
      }
      context_.report.add(Severity::note, fd_text(open.fd), "file",
                          fmt::format("{} may not be read, so its content is not kept: it must be "
                                      "unchanged at the restore",
                                      path));
      return;
    }
    context_.report.add(
        deleted ? Severity::lost : Severity::note, fd_text(open.fd), "file",
        deleted ? fmt::format("{} has no name and is larger than the limit for keeping files: the "
                              "restore will fail",
                              path)
                : fmt::format("{} is larger than the limit for keeping files: it must be unchanged "
                              "at the restore",
                              path));
  }

  void describe_device(const Open& open, Description& description) {
    if (is_safe_device(open.status.st_rdev)) {
      description.kind = DescriptionKind::path;
    } else if (is_terminal(open.status.st_rdev) &&
               (open.fd <= 2 || open.status.st_rdev == tty_ || is_standard(open) ||
                open.target == "/dev/tty")) {
      description.kind = DescriptionKind::terminal;
      description.stream = open.fd <= 2 ? open.fd : -1;
    } else {
      lose(open, description, open.target == "/dev/ptmx" ? "pseudoterminal" : "device");
    }
  }

  // Whether one of 0, 1, 2 is the same object.
  bool is_standard(const Open& open) const { return standard_of(open) >= 0; }

  int standard_of(const Open& open) const {
    for (const Open& other : open_)
      if (other.fd <= 2 && other.status.st_ino == open.status.st_ino &&
          other.status.st_dev == open.status.st_dev &&
          (other.info.flags & O_ACCMODE) == (open.info.flags & O_ACCMODE))
        return other.fd;
    return -1;
  }

  bool has_inside(const Open& open, bool (*wanted)(std::uint32_t)) const {
    return std::any_of(open_.begin(), open_.end(), [&](const Open& other) {
      return other.status.st_ino == open.status.st_ino &&
             other.status.st_dev == open.status.st_dev && !wanted(other.info.flags);
    });
  }

  void describe_pipe(const Open& open, Description& description) {
    const bool named = !open.target.starts_with("pipe:");
    const bool reader_inside = has_inside(open, &writes_only);
    const bool writer_inside = has_inside(open, &reads_only);
    const bool outside = !(reader_inside && writer_inside);
    description.pipe = open.status.st_ino;
    const int standard = standard_of(open);
    const std::string link = context_.process.path(fmt::format("fd/{}", open.fd));
    if (!writes_only(description.flags)) {
      if (const int fd = ::open(link.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); fd >= 0) {
        const UniqueFd owned(fd);
        const int capacity = ::fcntl(fd, F_GETPIPE_SZ);
        description.pipe_bytes = capacity > 0 ? static_cast<std::uint64_t>(capacity) : 65536;
        description.content = pipe_content(fd, description.pipe_bytes);
      }
    }
    description.kind = DescriptionKind::pipe;
    if (!outside) {
      if (named)
        context_.report.add(Severity::changed, fd_text(open.fd), "FIFO",
                            fmt::format("{} comes back as a pipe without a name", open.target));
      return;
    }
    if (standard >= 0 && description.content.empty()) {
      description.kind = DescriptionKind::stream;
      description.stream = standard;
      context_.report.add(Severity::changed, fd_text(open.fd), "pipe",
                          fmt::format("{} leads out of the program: it comes back as the {} of the "
                                      "restore",
                                      open.target, stream_name(standard)));
      return;
    }
    context_.report.add(
        Severity::changed, fd_text(open.fd), named ? "FIFO" : "pipe",
        writes_only(description.flags)
            ? fmt::format("{} leads out of the program: writing to it fails with EPIPE",
                          open.target)
            : fmt::format("{} leads out of the program: what is in it can be read, then it ends",
                          open.target));
  }

  static std::string_view stream_name(int stream) {
    constexpr std::array<std::string_view, 3> kNames = {"standard input", "standard output",
                                                        "standard error"};
    return kNames.at(static_cast<std::size_t>(stream));
  }

  void describe_socket(const Open& open, Description& description) {
    const int standard = standard_of(open);
    if (standard < 0) return lose(open, description, "socket");
    description.kind = DescriptionKind::stream;
    description.stream = standard;
    context_.report.add(Severity::changed, fd_text(open.fd), "socket",
                        fmt::format("{} leads out of the program: it comes back as the {} of the "
                                    "restore",
                                    open.target, stream_name(standard)));
  }

  CaptureContext& context_;
  std::vector<Open> open_;
  std::vector<const Open*> first_of_;
  dev_t tty_ = 0;
};

// The restoring program's own stream that stands for a terminal or an outside stream.
int own_stream(const Description& description) {
  if (description.kind == DescriptionKind::terminal) {
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
    const int again =
        static_cast<int>(description.flags) & ~(O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW);
    const std::string path = description.path == "/dev/tty"
                                 ? std::string("/dev/tty")
                                 : fmt::format("/proc/self/fd/{}", stream);
    if (UniqueFd fd{::open(path.c_str(), again | O_NOCTTY | O_CLOEXEC)}) return fd;
  }
  UniqueFd fd(::fcntl(stream, F_DUPFD_CLOEXEC, 3));
  if (!fd) fd = open_file("/dev/null", O_RDWR);  // our own is closed
  return fd;
}

bool is_same_object(int one, int two) {
  struct stat first {};
  struct stat second {};
  return ::fstat(one, &first) == 0 && ::fstat(two, &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

// A program started in a terminal has one description for 0, 1 and 2, while those of the restoring
// program may lead to different places (`ckpt-restart IMAGE >file`): each then gets its own.
void split_streams(const DescriptorTable& table, OpenedDescriptions& opened) {
  for (const Descriptor& descriptor : table.descriptors) {
    const Description& description = table.descriptions.at(descriptor.description);
    const bool is_own = description.kind == DescriptionKind::terminal ||
                        description.kind == DescriptionKind::stream;
    if (descriptor.fd > 2 || !is_own || description.path == "/dev/tty") continue;
    if (is_same_object(own_stream(description), descriptor.fd)) continue;
    Description own = description;
    own.kind = DescriptionKind::stream;
    own.stream = descriptor.fd;
    opened.streams[descriptor.fd] = opened.fds.size();
    opened.fds.push_back(open_own_stream(own));
  }
}

UniqueFd open_again(const Description& description) {
  const int flags = static_cast<int>(description.flags) & ~(O_CREAT | O_EXCL | O_TRUNC);
  return open_file(description.path, flags | O_NOCTTY);
}

// One end of a pipe; the first end that is opened makes the pipe.
struct PipeEnds {
  UniqueFd reader;
  UniqueFd writer;
};

// pipe2(2) gives O_DIRECT (packets) to the writing end alone, so any end may be the one to ask.
PipeEnds make_pipe(const DescriptorTable& table, std::uint64_t pipe) {
  std::array<int, 2> ends{};
  const bool packets = std::any_of(
      table.descriptions.begin(), table.descriptions.end(), [&](const Description& end) {
        return end.kind == DescriptionKind::pipe && end.pipe == pipe && (end.flags & O_DIRECT) != 0;
      });
  if (::pipe2(ends.data(), O_CLOEXEC | (packets ? O_DIRECT : 0)) != 0)
    throw_errno("make a pipe", errno);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

void fill_pipe(int writer, const Description& description) {
  if (description.pipe_bytes != 0)
    ::fcntl(writer, F_SETPIPE_SZ, static_cast<int>(description.pipe_bytes));
  const int flags = ::fcntl(writer, F_GETFL);
  ::fcntl(writer, F_SETFL, flags | O_NONBLOCK);
  for (const auto& piece : description.content) write_all(writer, piece, "a pipe's content");
  ::fcntl(writer, F_SETFL, flags);
}

}  // namespace

DescriptorTable capture_descriptors(CaptureContext& context) { return Capturer(context).run(); }

image::Json descriptors_to_json(const DescriptorTable& table) {
  auto descriptions = image::Json::array();
  for (const Description& description : table.descriptions) {
    std::string_view kind;
    for (const auto& [value, name] : kKinds)
      if (value == description.kind) kind = name;
    auto content = image::Json::array();
    for (const auto& piece : description.content)
      content.push_back(image::pack_bytes(piece.data(), piece.size()));
    descriptions.push_back(
        {{"kind", kind},
         {"path", description.path},
         {"flags", description.flags},
         {"offset", description.offset_bytes},
         {"file", description.file ? kept_file_to_json(*description.file) : image::Json()},
         {"stream", description.stream},
         {"pipe", description.pipe},
         {"pipe_bytes", description.pipe_bytes},
         {"content", std::move(content)}});
  }
  auto descriptors = image::Json::array();
  for (const Descriptor& descriptor : table.descriptors)
    descriptors.push_back({{"fd", descriptor.fd},
                           {"close_on_exec", descriptor.close_on_exec},
                           {"description", descriptor.description}});
  return {{"descriptors", std::move(descriptors)}, {"descriptions", std::move(descriptions)}};
}

DescriptorTable descriptors_from_json(const image::Json& json) {
  DescriptorTable table;
  for (const auto& item : json.at("descriptions")) {
    Description description;
    const auto kind = item.at("kind").get<std::string>();
    const auto* known = std::find_if(kKinds.begin(), kKinds.end(),
                                     [&](const auto& entry) { return entry.second == kind; });
    if (known == kKinds.end()) image::damaged("the kind of a descriptor");
    description.kind = known->first;
    description.path = item.at("path");
    description.flags = item.at("flags");
    description.offset_bytes = item.at("offset");
    if (!item.at("file").is_null()) description.file = kept_file_from_json(item.at("file"));
    if (description.kind == DescriptionKind::file && !description.file)
      image::damaged("a descriptor's file");
    description.stream = item.at("stream");
    if (description.stream < -1 || description.stream > 2) image::damaged("a stream");
    description.pipe = item.at("pipe");
    description.pipe_bytes = item.at("pipe_bytes");
    for (const auto& piece : item.at("content")) {
      const auto bytes = image::unpack_bytes(piece);
      description.content.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    table.descriptions.push_back(std::move(description));
  }
  int last = -1;
  for (const auto& item : json.at("descriptors")) {
    Descriptor descriptor;
    descriptor.fd = item.at("fd");
    descriptor.close_on_exec = item.at("close_on_exec");
    descriptor.description = item.at("description");
    if (descriptor.fd <= last || descriptor.fd > kHighestFd ||
        descriptor.description >= table.descriptions.size())
      image::damaged("the table of descriptors");
    last = descriptor.fd;
    table.descriptors.push_back(descriptor);
  }
  return table;
}

void check_descriptors(const DescriptorTable& table, FileSource& files) {
  std::set<std::size_t> overridden;  // descriptions nobody refers to but an overridden stream
  std::set<std::size_t> used;
  for (const auto& descriptor : table.descriptors)
    (files.options().streams.contains(descriptor.fd) ? overridden : used)
        .insert(descriptor.description);
  for (std::size_t i = 0; i < table.descriptions.size(); ++i) {
    const Description& description = table.descriptions[i];
    if (description.kind != DescriptionKind::file || !used.contains(i)) continue;
    // A name that outlives the file is no use to a program that had already removed it.
    files.check(*description.file, FileSource::Use::data);
  }
  for (const auto& [stream, path] : files.options().streams) {
    struct stat status {};
    const bool exists = ::stat(path.c_str(), &status) == 0;
    if (stream == 0 && !exists)
      fail(ErrorKind::files, "{} (for standard input): {}", path, describe_errno(errno));
    if (stream != 0 && exists && S_ISREG(status.st_mode))
      fail(ErrorKind::exists,
           "{} exists already and would be overwritten by the program's output: name a new file",
           path);
  }
}

OpenedDescriptions open_descriptions(const DescriptorTable& table, FileSource& files) {
  OpenedDescriptions opened;
  std::map<std::uint64_t, PipeEnds> pipes;
  for (const Description& description : table.descriptions)
    if (description.kind == DescriptionKind::pipe && !pipes.contains(description.pipe))
      pipes.emplace(description.pipe, make_pipe(table, description.pipe));
  std::set<std::uint64_t> filled;
  for (const Description& description : table.descriptions)
    if (description.kind == DescriptionKind::pipe && !writes_only(description.flags) &&
        filled.insert(description.pipe).second)
      fill_pipe(pipes.at(description.pipe).writer.get(), description);

  for (const Description& description : table.descriptions) {
    UniqueFd fd;
    switch (description.kind) {
      case DescriptionKind::file:
        fd = files.open(*description.file, FileSource::Use::data,
                        static_cast<int>(description.flags));
        ::lseek(fd.get(), static_cast<off_t>(description.offset_bytes), SEEK_SET);
        break;
      case DescriptionKind::path:
        fd = open_again(description);
        ::lseek(fd.get(), static_cast<off_t>(description.offset_bytes), SEEK_SET);
        break;
      case DescriptionKind::terminal:
      case DescriptionKind::stream: fd = open_own_stream(description); break;
      case DescriptionKind::pipe: {
        // A description of its own for every one there was: reopening an end makes one.
        const PipeEnds& ends = pipes.at(description.pipe);
        const int end = writes_only(description.flags) ? ends.writer.get() : ends.reader.get();
        const int flags = static_cast<int>(description.flags) & (O_ACCMODE | O_NONBLOCK | O_DIRECT);
        // Packet mode (O_DIRECT) is for pipe2(2) and F_SETFL alone: open(2) says EINVAL.
        fd = open_file(fmt::format("/proc/self/fd/{}", end), (flags & ~O_DIRECT) | O_NONBLOCK);
        ::fcntl(fd.get(), F_SETFL, flags);
        break;
      }
      case DescriptionKind::lost: fd = open_file("/", O_PATH); break;
    }
    opened.fds.push_back(std::move(fd));
  }
  split_streams(table, opened);
  for (const auto& [stream, path] : files.options().streams) {
    opened.streams[stream] = opened.fds.size();
    // O_EXCL: never an existing file of the user's; other existing things are opened as they are.
    struct stat status {};
    const bool exists = ::stat(path.c_str(), &status) == 0;
    const int flags = stream == 0 ? O_RDONLY : exists ? O_WRONLY : O_WRONLY | O_CREAT | O_EXCL;
    opened.fds.push_back(open_file(path, flags | O_NOCTTY, 0666));
  }
  return opened;
}

void place_descriptors(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                       const DescriptorTable& table, const OpenedDescriptions& opened,
                       const std::vector<int>& inherited) {
  std::vector<tracee::LoopEntry> calls;
  int next = 0;
  const auto close_until = [&](int fd) {
    if (next < fd) {
      tracee::LoopEntry row;
      row.number = SYS_close_range;
      row.arguments[0] = static_cast<std::uint64_t>(next);
      row.arguments[1] = static_cast<std::uint64_t>(fd - 1);
      calls.push_back(row);
    }
  };
  // Everything inherited has a number above all that the program used: nothing is overwritten.
  for (const auto& descriptor : table.descriptors) {
    const auto stream = opened.streams.find(descriptor.fd);
    const std::size_t index =
        stream == opened.streams.end() ? descriptor.description : stream->second;
    tracee::LoopEntry row;
    row.number = SYS_dup3;
    row.arguments[0] = static_cast<std::uint64_t>(inherited.at(index));
    row.arguments[1] = static_cast<std::uint64_t>(descriptor.fd);
    row.arguments[2] = descriptor.close_on_exec ? O_CLOEXEC : 0;
    calls.push_back(row);
  }
  thread.run(scratch, calls, true, "dup3");
  calls.clear();
  for (const auto& descriptor : table.descriptors) {
    close_until(descriptor.fd);
    next = descriptor.fd + 1;
  }
  tracee::LoopEntry rest;
  rest.number = SYS_close_range;
  rest.arguments[0] = static_cast<std::uint64_t>(next);
  rest.arguments[1] = ~0U;
  calls.push_back(rest);
  thread.run(scratch, calls, true, "close_range");
}

}  // namespace ckpt::state
