// Restore of open descriptors; see descriptors.hpp.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <set>

#include "base/error.hpp"
#include "base/io.hpp"
#include "state/descriptors/descriptors.hpp"

namespace ckpt::state {

namespace {

using tracee::RemoteCalls;

// What open(2) did at the time, and must not do again.
constexpr int kOnlyOnce = O_CREAT | O_EXCL | O_TRUNC;

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
  const int flags = static_cast<int>(description.flags) & ~kOnlyOnce;
  // It may be another thing by now: nobody is to wait for the other end of a FIFO.
  UniqueFd fd = open_file(description.path, flags | O_NOCTTY | O_NONBLOCK);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) throw_errno(fmt::format("stat {}", description.path), errno);
  if (std::holds_alternative<RemovedDirectory>(description.details) && !S_ISDIR(status.st_mode))
    throw_errno(fmt::format("open {}", description.path), ENOTDIR);
  if (S_ISFIFO(status.st_mode) && (flags & O_PATH) == 0)
    fail(ErrorKind::files, "{}: it is a FIFO by now, and was none at the save", description.path);
  const int now = ::fcntl(fd.get(), F_GETFL);
  if ((flags & (O_NONBLOCK | O_PATH)) == 0) ::fcntl(fd.get(), F_SETFL, now & ~O_NONBLOCK);
  return fd;
}

UniqueFd open_path(const DescriptorTable& table, std::size_t index, RemovedDirectories& removed,
                   FileSource& files) {
  const Description& description = table.descriptions[index];
  const std::string object = description_name(table, index);
  const int flags = static_cast<int>(description.flags) & ~kOnlyOnce;
  if (const auto* process = std::get_if<Identity>(&description.details)) {
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
    const auto* directory = std::get_if<RemovedDirectory>(&description.details);
    files.note(fmt::format("{}: {}: {}", object, error.what(),
                           directory != nullptr
                               ? "an empty directory without a name is in its place"
                               : "every use of the descriptor fails with EBADF"));
    return directory != nullptr ? removed.open(*directory, flags | O_DIRECTORY)
                                : open_file("/", O_PATH);
  }
}

PipeMaker make_pipes(const DescriptorTable& table, FileSource& files) {
  PipeMaker pipes(files);
  std::set<std::uint64_t> in_packets;
  for (const Description& description : table.descriptions)
    if (const auto* pipe = std::get_if<Pipe>(&description.details))
      if ((description.flags & O_DIRECT) != 0) in_packets.insert(pipe->id);
  for (const Description& description : table.descriptions)
    if (const auto* pipe = std::get_if<Pipe>(&description.details))
      pipes.make(*pipe, description.path, in_packets.contains(pipe->id));
  for (const Description& description : table.descriptions)
    if (const auto* pipe = std::get_if<Pipe>(&description.details))
      if (!writes_only(description.flags)) pipes.fill(*pipe);
  return pipes;
}

void hold_far_ends(const DescriptorTable& table, PipeMaker& pipes, SilentPeers& peers,
                   FileSource& files) {
  auto far_ends = pipes.take_far_ends();
  for (std::size_t i = 0; i < table.descriptions.size(); ++i)
    if (const auto* pipe = std::get_if<Pipe>(&table.descriptions[i].details))
      if (far_ends.contains(pipe->id))
        files.note(description_name(table, i) + ": " + SilentPeers::note());
  for (auto& [id, fd] : far_ends) peers.hold(std::move(fd));
}

// Masters of the program's own pseudoterminals, by the number they had.
std::map<int, UniqueFd> make_ptys(const DescriptorTable& table) {
  std::map<int, UniqueFd> masters;
  for (const Description& description : table.descriptions) {
    if (description.kind != DescriptionKind::pty_master) continue;
    const auto& pty = std::get<Pty>(description.details);
    if (masters.contains(pty.index)) image::damaged("a pseudoterminal");
    masters.emplace(pty.index, make_pty(pty, static_cast<int>(description.flags)));
  }
  return masters;
}

}  // namespace

std::vector<const Description*> files_in_use(const DescriptorTable& table,
                                             const RestoreOptions& options) {
  std::set<std::size_t> used;
  for (const auto& descriptor : table.descriptors)
    if (!options.streams.contains(descriptor.fd)) used.insert(descriptor.description);
  std::set<std::size_t> overridden;  // nobody refers to them but a stream
  for (const auto& descriptor : table.descriptors)
    if (!used.contains(descriptor.description)) overridden.insert(descriptor.description);
  std::vector<const Description*> files;
  for (std::size_t i = 0; i < table.descriptions.size(); ++i)
    if (table.descriptions[i].kind == DescriptionKind::file && !overridden.contains(i))
      files.push_back(&table.descriptions[i]);
  return files;
}

void check_descriptors(const DescriptorTable& table, FileSource& files) {
  // A name that outlives the file is no use to a program that had already removed it.
  for (const Description* description : files_in_use(table, files.options()))
    files.check(*description->file, FileSource::Use::data);
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

OpenedDescriptions open_descriptions(const DescriptorTable& table,
                                     const std::optional<RemovedDirectory>& working_directory,
                                     FileSource& files) {
  OpenedDescriptions opened;
  RemovedDirectories removed;
  PipeMaker pipes = make_pipes(table, files);
  std::map<int, UniqueFd> masters = make_ptys(table);
  for (const Description& description : table.descriptions) {
    UniqueFd fd;
    switch (description.kind) {
      case DescriptionKind::file:
        fd = files.open(*description.file, FileSource::Use::data,
                        static_cast<int>(description.flags));
        ::lseek(fd.get(), static_cast<off_t>(description.offset_bytes), SEEK_SET);
        break;
      case DescriptionKind::path:
        fd = open_path(table, static_cast<std::size_t>(&description - table.descriptions.data()),
                       removed, files);
        ::lseek(fd.get(), static_cast<off_t>(description.offset_bytes), SEEK_SET);
        break;
      case DescriptionKind::removed_directory:
        fd = removed.open(std::get<RemovedDirectory>(description.details),
                          static_cast<int>(description.flags) | O_DIRECTORY);
        ::lseek(fd.get(), static_cast<off_t>(description.offset_bytes), SEEK_SET);
        break;
      case DescriptionKind::terminal:
      case DescriptionKind::stream: fd = open_own_stream(description); break;
      case DescriptionKind::pipe:
        fd = pipes.open(std::get<Pipe>(description.details), description.flags);
        break;
      case DescriptionKind::pty_master:
        fd.reset(::fcntl(masters.at(std::get<Pty>(description.details).index).get(),
                         F_DUPFD_CLOEXEC, 3));
        break;
      case DescriptionKind::pty_slave: {
        const auto master = masters.find(std::get<Pty>(description.details).index);
        if (master == masters.end()) image::damaged("a pseudoterminal");
        const int flags = static_cast<int>(description.flags) & (O_ACCMODE | O_NONBLOCK);
        fd = open_slave(master->second.get(), flags);
        if (!fd) throw_errno("open the other end of a pseudoterminal", errno);
        break;
      }
      case DescriptionKind::message_queue: {
        std::vector<std::string> notes;
        fd = open_message_queue(std::get<MessageQueue>(description.details),
                                static_cast<int>(description.flags), files.apart(""), notes);
        for (const auto& note : notes) files.note(note);
        break;
      }
      case DescriptionKind::lost: fd = open_file("/", O_PATH); break;
      // Made in the process itself.
      case DescriptionKind::own_proc:
      case DescriptionKind::eventfd:
      case DescriptionKind::timerfd:
      case DescriptionKind::signalfd:
      case DescriptionKind::pidfd:
      case DescriptionKind::epoll:
      case DescriptionKind::inotify:
      case DescriptionKind::io_uring:
      case DescriptionKind::socket: break;
    }
    opened.fds.push_back(std::move(fd));
  }
  for (const Description& description : table.descriptions)
    if (description.kind == DescriptionKind::pty_master) {
      const auto& pty = std::get<Pty>(description.details);
      fill_pty(masters.at(pty.index).get(), pty);
    }
  split_streams(table, opened);
  for (const auto& [stream, fd] : files.open_streams()) {
    opened.streams[stream] = opened.fds.size();
    opened.fds.emplace_back(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
  }
  if (working_directory) {
    opened.working_directory = opened.fds.size();
    opened.fds.push_back(removed.open(*working_directory, O_PATH | O_DIRECTORY));
  }
  if (files.options().peers == PeersMode::silent) hold_far_ends(table, pipes, opened.peers, files);
  return opened;
}

namespace {

// One that is not a socket; those are made together.
int make_description(RemoteCalls& calls, const Description& description, const std::string& name,
                     const IdChange& ids, std::vector<std::string>& notes) {
  switch (description.kind) {
    case DescriptionKind::eventfd:
      return make_event_file(calls, std::get<EventFd>(description.details));
    case DescriptionKind::timerfd:
      return make_event_file(calls, std::get<TimerFd>(description.details));
    case DescriptionKind::signalfd:
      return make_event_file(calls, std::get<SignalFd>(description.details));
    case DescriptionKind::pidfd: {
      const auto& pidfd = std::get<PidFd>(description.details);
      for (const auto* known : {&ids.threads, &ids.children})
        if (const auto found = known->find(pidfd.id); found != known->end())
          return make_event_file(calls, pidfd, found->second);
      const BriefProcess ended;
      return make_event_file(calls, {ended.pid(), false}, ended.pid());
    }
    case DescriptionKind::epoll:
      return make_epoll(calls, std::get<Epoll>(description.details), name, notes);
    case DescriptionKind::inotify: return make_inotify(calls);
    case DescriptionKind::io_uring:
      return make_io_uring(calls, std::get<IoUring>(description.details));
    case DescriptionKind::own_proc: {
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
      const Addr at = calls.put_string(path);
      const auto flags = description.flags & ~static_cast<std::uint32_t>(kOnlyOnce);
      const int fd = calls.open("open", SYS_openat,
                                {static_cast<std::uint64_t>(AT_FDCWD), at.value, flags, 0});
      calls.attempt(SYS_lseek,
                    {static_cast<std::uint64_t>(fd), description.offset_bytes, SEEK_SET});
      return fd;
    }
    default: break;
  }
  return -1;
}

void set_status_flags(RemoteCalls& calls, int fd, std::uint32_t flags) {
  constexpr std::uint32_t kSettable = O_APPEND | O_NONBLOCK | O_ASYNC | O_NOATIME;
  calls.attempt(SYS_fcntl, {static_cast<std::uint64_t>(fd), F_SETFL, flags & kSettable});
}

std::optional<int> number_of(const DescriptorTable& table, std::size_t description) {
  for (const Descriptor& descriptor : table.descriptors)
    if (descriptor.description == description) return descriptor.fd;
  return std::nullopt;
}

bool is_kind_of_file(DescriptionKind kind) {
  return kind == DescriptionKind::file || kind == DescriptionKind::path ||
         kind == DescriptionKind::removed_directory;
}

bool is_made_inside(DescriptionKind kind) {
  switch (kind) {
    case DescriptionKind::own_proc:
    case DescriptionKind::eventfd:
    case DescriptionKind::timerfd:
    case DescriptionKind::signalfd:
    case DescriptionKind::pidfd:
    case DescriptionKind::epoll:
    case DescriptionKind::inotify:
    case DescriptionKind::io_uring:
    case DescriptionKind::socket: return true;
    default: return false;
  }
}

}  // namespace

void make_descriptions(RemoteCalls& calls, const DescriptorTable& table,
                       const std::string& directory, const IdChange& ids, bool apart,
                       SilentPeers* peers, std::vector<int>& inherited,
                       std::vector<std::string>& notes) {
  SocketMaker sockets(calls, directory, apart, peers, notes);
  bool has_sockets = false;
  for (std::size_t i = 0; i < table.descriptions.size(); ++i) {
    const Description& description = table.descriptions[i];
    const std::string name = description_name(table, i);
    if (const auto* socket = std::get_if<Socket>(&description.details)) {
      sockets.add(*socket, name);
      has_sockets = true;
      continue;
    }
    if (!is_made_inside(description.kind)) continue;
    try {
      inherited[i] = make_description(calls, description, name, ids, notes);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::system) throw;
      notes.push_back(
          fmt::format("{}: {} cannot be made again: {}", name, description.path, error.what()));
      const Addr root = calls.put_string("/");
      inherited[i] = calls.open("open", SYS_openat,
                                {static_cast<std::uint64_t>(AT_FDCWD), root.value, O_PATH, 0});
    }
  }
  if (has_sockets) {
    sockets.make();
    for (std::size_t i = 0; i < table.descriptions.size(); ++i)
      if (const auto* socket = std::get_if<Socket>(&table.descriptions[i].details))
        inherited[i] = sockets.number(socket->id);
    sockets.fill([&](std::size_t description) { return inherited.at(description); });
  }
  // One that is in a message only has no number later on.
  for (std::size_t i = 0; i < table.descriptions.size(); ++i)
    if (const auto* watches = std::get_if<Inotify>(&table.descriptions[i].details);
        watches != nullptr && !number_of(table, i))
      watch_files(
          calls, inherited[i], *watches, description_name(table, i), [](int) { return false; },
          notes);
  for (std::size_t i = 0; i < table.descriptions.size(); ++i)
    if (is_made_inside(table.descriptions[i].kind))
      set_status_flags(calls, inherited[i], table.descriptions[i].flags);
}

void place_descriptors(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                       const DescriptorTable& table, const OpenedDescriptions& opened,
                       const std::vector<int>& inherited) {
  std::vector<tracee::LoopEntry> calls;
  int next = 0;
  const auto close_until = [&](int fd) {
    if (next < fd)
      calls.push_back(tracee::loop_entry(
          SYS_close_range, {static_cast<std::uint64_t>(next), static_cast<std::uint64_t>(fd - 1)}));
  };
  // Everything inherited has a number above all that the program used: nothing is overwritten.
  for (const auto& descriptor : table.descriptors) {
    const auto stream = opened.streams.find(descriptor.fd);
    const std::size_t index =
        stream == opened.streams.end() ? descriptor.description : stream->second;
    calls.push_back(tracee::loop_entry(
        SYS_dup3,
        {static_cast<std::uint64_t>(inherited.at(index)), static_cast<std::uint64_t>(descriptor.fd),
         descriptor.close_on_exec ? std::uint64_t{O_CLOEXEC} : 0}));
  }
  thread.run(scratch, calls, true, "dup3");
  calls.clear();
  for (const auto& descriptor : table.descriptors) {
    close_until(descriptor.fd);
    next = descriptor.fd + 1;
  }
  calls.push_back(tracee::loop_entry(SYS_close_range, {static_cast<std::uint64_t>(next), ~0U}));
  thread.run(scratch, calls, true, "close_range");
}

void link_descriptors(RemoteCalls& calls, const DescriptorTable& table, const IdChange& ids,
                      bool original_runs, std::vector<std::string>& notes) {
  const auto renewed = [&](int type, Tid id) {
    if (type == F_OWNER_PGRP) return id == ids.group_before ? ids.group_now : id;
    return ids.thread(id);
  };
  const auto is_file = [&](int fd) {
    return std::any_of(
        table.descriptors.begin(), table.descriptors.end(), [&](const Descriptor& one) {
          return one.fd == fd && is_kind_of_file(table.descriptions.at(one.description).kind);
        });
  };
  for (std::size_t i = 0; i < table.descriptions.size(); ++i) {
    const Description& description = table.descriptions[i];
    const auto number = number_of(table, i);
    if (!number) continue;
    if (const auto* epoll = std::get_if<Epoll>(&description.details)) {
      const auto failed = fill_epoll(calls, *number, *epoll, [&](const EpollEntry& entry) {
        for (const Descriptor& descriptor : table.descriptors)
          if (descriptor.fd == entry.fd && descriptor.description == entry.description)
            return std::optional(entry.fd);
        return number_of(table, entry.description);
      });
      for (const std::string& name : failed)
        notes.push_back(
            fmt::format("fd {}: the epoll set does not watch {} any more", *number, name));
    }
    if (const auto* watches = std::get_if<Inotify>(&description.details))
      watch_files(calls, *number, *watches, fmt::format("fd {}", *number), is_file, notes);
    // When all of them are open.
    if (const auto* pty = std::get_if<Pty>(&description.details); pty != nullptr && pty->exclusive)
      calls.attempt(SYS_ioctl, {static_cast<std::uint64_t>(*number), TIOCEXCL});
    if (const auto* ring = std::get_if<IoUring>(&description.details); ring != nullptr)
      link_io_uring(
          calls, *number, *ring, fmt::format("fd {}", *number),
          [&](std::size_t other) { return number_of(table, other); }, notes);
    take_locks(
        calls, *number, description.locks, description.path,
        original_runs ? "the process that was saved still runs and has" : "another process has",
        notes);
    if (description.owner.id == 0 && description.owner.signal == 0) continue;
    set_owner(calls, *number, description.owner, renewed);
    // Only now, lest somebody else be told.
    if ((description.flags & O_ASYNC) != 0) {
      const std::int64_t flags =
          calls.attempt(SYS_fcntl, {static_cast<std::uint64_t>(*number), F_GETFL});
      calls.attempt(SYS_fcntl, {static_cast<std::uint64_t>(*number), F_SETFL,
                                static_cast<std::uint64_t>(flags) | O_ASYNC});
    }
  }
}

void take_terminal(RemoteCalls& calls, const DescriptorTable& table, int own_terminal,
                   std::vector<std::string>& notes) {
  for (std::size_t i = 0; i < table.descriptions.size(); ++i) {
    const Description& description = table.descriptions[i];
    const auto master = number_of(table, i);
    if (!master || description.kind != DescriptionKind::pty_master ||
        std::get<Pty>(description.details).index != own_terminal)
      continue;
    const std::int64_t slave = calls.attempt(
        SYS_ioctl,
        {static_cast<std::uint64_t>(*master), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC});
    const std::int64_t taken =
        slave < 0 ? slave
                  : calls.attempt(SYS_ioctl, {static_cast<std::uint64_t>(slave), TIOCSCTTY, 0});
    if (slave >= 0) calls.close(static_cast<int>(slave));
    if (taken < 0)
      notes.push_back(fmt::format("{}: the pseudoterminal does not control the program again: {}",
                                  description_name(table, i),
                                  describe_errno(static_cast<int>(-taken))));
    return;
  }
}

void start_descriptions(RemoteCalls& calls, const DescriptorTable& table) {
  for (std::size_t i = 0; i < table.descriptions.size(); ++i) {
    const auto* timer = std::get_if<TimerFd>(&table.descriptions[i].details);
    const auto* ring = std::get_if<IoUring>(&table.descriptions[i].details);
    const auto number = number_of(table, i);
    if (!number) continue;
    try {
      if (timer != nullptr) start_timerfd(calls, *number, *timer);
      if (ring != nullptr) start_io_uring(calls, *number, *ring);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::system) throw;  // a placeholder, said before
    }
  }
}

}  // namespace ckpt::state
