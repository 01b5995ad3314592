// Restore of open descriptors; see descriptors.hpp.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "base/error.hpp"
#include "base/io.hpp"
#include "state/descriptors/descriptors.hpp"
#include "state/descriptors/file_kinds.hpp"
#include "state/descriptors/kinds.hpp"
#include "state/descriptors/pipes.hpp"
#include "state/ipc/message_queues.hpp"
#include "state/sockets/sockets.hpp"
#include "state/surroundings/other_process.hpp"
#include "state/terminal/ptys.hpp"

namespace ckpt::state {

namespace {

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
    const bool is_own =
        description.kind == &kinds::kTerminal || description.kind == &kinds::kStream;
    if (descriptor.fd > 2 || !is_own || description.path == "/dev/tty") continue;
    if (is_same_object(own_stream(description), descriptor.fd)) continue;
    Description own = description;
    own.kind = &kinds::kStream;
    own.stream = descriptor.fd;
    opened.streams[descriptor.fd] = opened.fds.size();
    opened.fds.push_back(open_own_stream(own));
  }
}

PipeMaker make_pipes(const DescriptorTable& table, FileSource& files) {
  PipeMaker pipes(files);
  std::set<std::uint64_t> in_packets;
  for (const Description& description : table.descriptions)
    if (const auto* pipe = description.as<Pipe>())
      if ((description.flags & O_DIRECT) != 0) in_packets.insert(pipe->id);
  for (const Description& description : table.descriptions)
    if (const auto* pipe = description.as<Pipe>())
      pipes.make(*pipe, description.path, in_packets.contains(pipe->id));
  for (const Description& description : table.descriptions)
    if (const auto* pipe = description.as<Pipe>())
      if (!writes_only(description.flags)) pipes.fill(*pipe);
  return pipes;
}

void hold_far_ends(const DescriptorTable& table, PipeMaker& pipes, SilentPeers& peers,
                   FileSource& files) {
  auto far_ends = pipes.take_far_ends();
  for (std::size_t i = 0; i < table.descriptions.size(); ++i)
    if (const auto* pipe = table.descriptions[i].as<Pipe>())
      if (far_ends.contains(pipe->id))
        files.note(description_name(table, i) + ": " + SilentPeers::note());
  for (auto& [id, fd] : far_ends) peers.hold(std::move(fd));
}

// Masters of the program's own pseudoterminals, by the number they had.
std::map<int, UniqueFd> make_ptys(const DescriptorTable& table) {
  std::map<int, UniqueFd> masters;
  for (const Description& description : table.descriptions) {
    if (description.kind != &kinds::kPtyMaster) continue;
    const auto& pty = description.get<Pty>();
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
  std::set<std::size_t> overridden;  // only a stream refers to them
  for (const auto& descriptor : table.descriptors)
    if (!used.contains(descriptor.description)) overridden.insert(descriptor.description);
  std::vector<const Description*> files;
  for (std::size_t i = 0; i < table.descriptions.size(); ++i)
    if (table.descriptions[i].kind == &kinds::kFile && !overridden.contains(i))
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

namespace {

// That of a process which has ended can be entered only while there is one.
UniqueFd open_directory(const WorkingDirectory& directory, RemovedEntries& removed,
                        FileSource& files, OpenedDescriptions& opened) {
  constexpr int kFlags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  if (directory.entry) return removed.open(*directory.entry, directory.path, kFlags);
  if (still_runs(*directory.process))
    if (UniqueFd fd{::open(directory.path.c_str(), kFlags)}) return fd;
  if (directory.process->start_ticks != 0)
    files.note(
        fmt::format("the working directory {} is that of a process which has ended since "
                    "the save: there is nothing in it any more",
                    directory.path));
  opened.stand_in = std::make_unique<BriefProcess>();
  return open_file(fmt::format("/proc/{}", opened.stand_in->pid()), kFlags);
}

}  // namespace

OpenedDescriptions open_descriptions(const DescriptorTable& table,
                                     const std::optional<WorkingDirectory>& working_directory,
                                     FileSource& files) {
  files.begin_descriptions();
  OpenedDescriptions opened;
  RemovedEntries removed;
  PipeMaker pipes = make_pipes(table, files);
  const std::map<int, UniqueFd> masters = make_ptys(table);
  MessageQueues queues;
  const Opening opening{table, files, removed, pipes, queues, masters};
  for (const Description& description : table.descriptions) {
    UniqueFd fd;
    if (description.kind->open != nullptr) fd = description.kind->open(description, opening);
    opened.fds.push_back(std::move(fd));
  }
  for (const Description& description : table.descriptions)
    if (description.kind == &kinds::kPtyMaster) {
      const auto& pty = description.get<Pty>();
      const std::string why_not = fill_pty(masters.at(pty.index).get(), pty);
      if (!why_not.empty()) files.note(fmt::format("/dev/pts/{}: {}", pty.index, why_not));
    }
  split_streams(table, opened);
  for (const auto& [stream, fd] : files.open_streams()) {
    opened.streams[stream] = opened.fds.size();
    opened.fds.emplace_back(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
  }
  if (working_directory) {
    opened.working_directory = opened.fds.size();
    opened.fds.push_back(open_directory(*working_directory, removed, files, opened));
  }
  if (files.options().peers == PeersMode::silent) hold_far_ends(table, pipes, opened.peers, files);
  return opened;
}

namespace {

void set_status_flags(RestoreContext& inferior, int fd, std::uint32_t flags) {
  constexpr std::uint32_t kSettable = O_APPEND | O_NONBLOCK | O_ASYNC | O_NOATIME;
  inferior.attempt(SYS_fcntl, {fd, F_SETFL, flags & kSettable});
}

}  // namespace

void make_descriptions(RestoreContext& inferior, const DescriptorTable& table,
                       const std::string& directory, const IdChange& ids, bool apart,
                       SilentPeers* peers, std::vector<int>& inherited) {
  SocketMaker sockets(inferior, directory, apart, peers);
  StandIns stand_ins;
  bool has_sockets = false;
  for (std::size_t i = 0; i < table.descriptions.size(); ++i) {
    const Description& description = table.descriptions[i];
    const std::string name = description_name(table, i);
    if (const auto* socket = description.as<Socket>()) {
      sockets.add(*socket, name);
      has_sockets = true;
      continue;
    }
    if (description.kind->make == nullptr) continue;
    try {
      inherited[i] = description.kind->make(description, {inferior, name, ids, stand_ins});
      // Nothing leads to what is in a message only when the program goes on.
      if (description.kind->start != nullptr && !number_of(table, i))
        description.kind->start(description, inferior, inherited[i]);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::system) throw;
      inferior.notes.push_back(
          fmt::format("{}: {} cannot be made again: {}", name, description.path, error.what()));
      inherited[i] = make_nothing(inferior);
    }
  }
  if (has_sockets) {
    sockets.make();
    for (std::size_t i = 0; i < table.descriptions.size(); ++i)
      if (const auto* socket = table.descriptions[i].as<Socket>())
        inherited[i] = sockets.number(socket->id);
    sockets.fill([&](std::size_t description) { return inherited.at(description); });
  }
  for (std::size_t i = 0; i < table.descriptions.size(); ++i)
    if (table.descriptions[i].kind->open == nullptr)
      set_status_flags(inferior, inherited[i], table.descriptions[i].flags);
}

namespace {

std::map<std::size_t, int> lowest_numbers(const DescriptorTable& table) {
  std::map<std::size_t, int> numbers;
  for (const Descriptor& descriptor : table.descriptors)
    numbers.emplace(descriptor.description, descriptor.fd);
  return numbers;
}

// Descriptions that only a message leads to.
std::set<std::size_t> in_messages(const DescriptorTable& table) {
  const auto numbers = lowest_numbers(table);
  std::set<std::size_t> others;
  for (std::size_t i = 0; i < table.descriptions.size(); ++i)
    if (!numbers.contains(i)) others.insert(i);
  return others;
}

}  // namespace

void place_descriptors(tracee::Inferior& inferior, const DescriptorTable& table,
                       const OpenedDescriptions& opened, const std::vector<int>& inherited) {
  std::set<int> kept;  // until link_descriptors()
  for (const std::size_t description : in_messages(table)) kept.insert(inherited.at(description));
  // Everything inherited has a number above all that the program used: nothing is overwritten.
  tracee::Batch place(inferior);
  for (const auto& descriptor : table.descriptors) {
    const auto stream = opened.streams.find(descriptor.fd);
    const std::size_t index =
        stream == opened.streams.end() ? descriptor.description : stream->second;
    place.add(SYS_dup3,
              {inherited.at(index), descriptor.fd, descriptor.close_on_exec ? O_CLOEXEC : 0});
  }
  place.run_all("dup3");
  tracee::Batch close(inferior);
  int next = 0;
  for (const auto& descriptor : table.descriptors) {
    if (next < descriptor.fd) close.add(SYS_close_range, {next, descriptor.fd - 1});
    next = descriptor.fd + 1;
  }
  for (const int fd : kept) {
    if (next < fd) close.add(SYS_close_range, {next, fd - 1});
    next = fd + 1;
  }
  close.add(SYS_close_range, {next, ~0U});
  close.run_all("close_range");
}

namespace {

using RenewedId = std::function<Tid(int type, Tid)>;

void link_owner(RestoreContext& inferior, int number, const Description& description,
                const RenewedId& renewed) {
  if (description.owner.id == 0 && description.owner.signal == 0) return;
  const auto fd = static_cast<std::uint64_t>(number);
  set_owner(inferior, number, description.owner, renewed);
  // Only now, lest another process be told.
  if ((description.flags & O_ASYNC) == 0) return;
  const std::int64_t flags = inferior.attempt(SYS_fcntl, {fd, F_GETFL});
  inferior.attempt(SYS_fcntl, {fd, F_SETFL, flags | O_ASYNC});
}

}  // namespace

void link_descriptors(RestoreContext& inferior, const DescriptorTable& table,
                      const std::vector<int>& inherited, const IdChange& ids, bool original_runs) {
  const auto renewed = [&](int type, Tid id) {
    if (type == F_OWNER_PGRP) return id == ids.group_before ? ids.group_now : id;
    return ids.thread(id);
  };
  const std::string_view holder =
      original_runs ? "the process that was saved still runs and has" : "another process has";
  const auto link = [&](std::size_t i, int number) {
    const Description& description = table.descriptions[i];
    if (description.kind->link != nullptr)
      description.kind->link(description,
                             {inferior, table, inherited, number, description_name(table, i)});
  };
  const auto take = [&](std::size_t i, int number) {
    const Description& description = table.descriptions[i];
    take_locks(inferior, number, description.locks, description.path, holder);
    link_owner(inferior, number, description, renewed);
  };
  const std::set<std::size_t> unnumbered = in_messages(table);
  for (const std::size_t i : unnumbered) {
    link(i, inherited.at(i));
    take(i, inherited.at(i));
  }
  const auto numbered = lowest_numbers(table);
  for (const auto& [i, number] : numbered) link(i, number);
  // Whatever is closed takes the process's record locks on the file with it (fcntl(2)).
  for (const std::size_t i : unnumbered) inferior.close(inherited.at(i));
  for (const auto& [i, number] : numbered) take(i, number);
}

void take_terminal(RestoreContext& inferior, const DescriptorTable& table, int own_terminal) {
  for (std::size_t i = 0; i < table.descriptions.size(); ++i) {
    const Description& description = table.descriptions[i];
    const auto master = number_of(table, i);
    if (!master || description.kind != &kinds::kPtyMaster ||
        description.get<Pty>().index != own_terminal)
      continue;
    const std::int64_t slave =
        inferior.attempt(SYS_ioctl, {*master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC});
    const std::int64_t taken =
        slave < 0 ? slave : inferior.attempt(SYS_ioctl, {slave, TIOCSCTTY, 0});
    if (slave >= 0) inferior.close(static_cast<int>(slave));
    if (taken < 0)
      inferior.notes.push_back(
          fmt::format("{}: the pseudoterminal does not control the program again: {}",
                      description_name(table, i), describe_errno(static_cast<int>(-taken))));
    return;
  }
}

void start_descriptions(RestoreContext& inferior, const DescriptorTable& table) {
  for (std::size_t i = 0; i < table.descriptions.size(); ++i) {
    const Description& description = table.descriptions[i];
    const auto number = number_of(table, i);
    if (!number || description.kind->start == nullptr) continue;
    try {
      description.kind->start(description, inferior, *number);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::system) throw;  // a placeholder, said before
    }
  }
}

}  // namespace ckpt::state
