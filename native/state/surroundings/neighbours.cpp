#include "state/surroundings/neighbours.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/process_dir.hpp"
#include "state/surroundings/quiet_open.hpp"

namespace ckpt::state {

namespace {

struct Sought {
  dev_t device = 0;
  ino_t inode = 0;
  std::string path;
};

std::vector<Sought> present(const std::vector<std::string>& paths) {
  std::vector<Sought> targets;
  for (const std::string& path : paths) {
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode))
      targets.push_back({status.st_dev, status.st_ino, path});
  }
  return targets;
}

enum class OpenForWriting { no, yes, unknown };

// A read lease can be had of a file that is not open for writing or mapped from such a
// descriptor (fcntl(2)), by its owner: the kernel tells in one call what a look at each process
// would tell.
OpenForWriting open_for_writing(const Sought& target) {
  const UniqueFd fd = open_quietly(target.path);
  if (!fd)
    return errno == EBUSY ? OpenForWriting::yes
                          : OpenForWriting::unknown;  // or who has a lease, has it open
  // The signal for a holder whose lease is to be broken would end us; this one is ignored.
  if (::fcntl(fd.get(), F_SETSIG, SIGURG) != 0) return OpenForWriting::unknown;
  if (::fcntl(fd.get(), F_SETLEASE, F_RDLCK) != 0)
    return errno == EAGAIN ? OpenForWriting::yes : OpenForWriting::unknown;
  ::fcntl(fd.get(), F_SETLEASE, F_UNLCK);
  return OpenForWriting::no;
}

bool may_write(const proc::ProcessDir& process, int fd) {
  try {
    return (process.fdinfo(fd).flags & O_ACCMODE) != O_RDONLY;
  } catch (const Error&) {
    return false;  // it is closed by now
  }
}

const Sought* writes_by_descriptor(const proc::ProcessDir& process,
                                   const std::vector<Sought>& targets) {
  for (const int fd : process.descriptors()) {
    struct stat status {};
    if (::stat(process.path(fmt::format("fd/{}", fd)).c_str(), &status) != 0) continue;
    for (const Sought& target : targets)
      if (status.st_ino == target.inode && status.st_dev == target.device && may_write(process, fd))
        return &target;
  }
  return nullptr;
}

const Sought* writes_by_mapping(const proc::ProcessDir& process,
                                const std::vector<Sought>& targets) {
  for (const auto& map : proc::parse_maps(process.read("maps"))) {
    if (!map.shared || !map.write || !map.has_object()) continue;
    for (const Sought& target : targets)
      // Some file systems show another device here than stat(2) does.
      if (map.inode == target.inode &&
          (::makedev(map.dev_major, map.dev_minor) == target.device || map.path == target.path))
        return &target;
  }
  return nullptr;
}

std::optional<Writer> look_into(Tid pid, const std::vector<Sought>& targets) {
  const proc::ProcessDir process(pid);
  try {
    const Sought* target = writes_by_descriptor(process, targets);
    if (target == nullptr) target = writes_by_mapping(process, targets);
    if (target != nullptr) return Writer{pid, process.comm(pid), target->path};
  } catch (const Error&) {
    return std::nullopt;  // it has ended, or is not ours to look into
  }
  return std::nullopt;
}

}  // namespace

std::string boot_id() {
  std::string boot = try_read_file("/proc/sys/kernel/random/boot_id").value_or("");
  if (!boot.empty() && boot.back() == '\n') boot.pop_back();
  return boot;
}

bool still_runs(const Identity& process) {
  if (process.start_ticks == 0 || process.boot_id.empty() || process.boot_id != boot_id())
    return false;
  const proc::ProcessDir directory(process.pid);
  try {
    const proc::Stat stat = directory.stat();
    const bool ended = stat.state == 'Z' || stat.state == 'X';
    return stat.start_time_ticks == process.start_ticks && (!ended || directory.main_ended());
  } catch (const Error&) {
    return false;
  }
}

std::optional<Writer> find_writer(const std::vector<std::string>& paths,
                                  const std::set<Tid>& ignored) {
  const auto targets = present(paths);
  const Sought* known = nullptr;  // to be written to, by whomever
  bool doubtful = false;
  for (const Sought& target : targets) {
    const OpenForWriting open = open_for_writing(target);
    if (open == OpenForWriting::yes && known == nullptr) known = &target;
    if (open != OpenForWriting::no) doubtful = true;
  }
  if (!doubtful) return std::nullopt;
  bool has_ignored = false;
  for (const Tid pid : proc::all_processes()) {
    if (ignored.contains(pid)) {
      has_ignored = true;
      continue;
    }
    if (auto writer = look_into(pid, targets)) return writer;
  }
  if (known != nullptr && !has_ignored) return Writer{0, "", known->path};
  return std::nullopt;
}

std::string Neighbours::text() const {
  if (original) return fmt::format("process {}, which was saved, still runs", *original);
  if (!writer) return "";
  const std::string who = writer->pid == 0
                              ? std::string("another process")
                              : fmt::format("process {} ({})", writer->pid, writer->name);
  return fmt::format("{} can write to {}", who, writer->path);
}

}  // namespace ckpt::state
