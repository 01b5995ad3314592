// Capture of open descriptors; see descriptors.hpp.
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/text.hpp"
#include "state/descriptors/descriptors.hpp"
#include "state/descriptors/epoll.hpp"
#include "state/descriptors/kinds.hpp"
#include "state/descriptors/pipes.hpp"
#include "state/descriptors/same_descriptions.hpp"
#include "state/files/stateless_devices.hpp"
#include "state/ipc/message_queues.hpp"
#include "state/rings/io_uring.hpp"
#include "state/sockets/sockets.hpp"
#include "state/surroundings/other_process.hpp"
#include "state/surroundings/quiet_open.hpp"
#include "state/terminal/ptys.hpp"

namespace ckpt::state {

namespace {

constexpr std::string_view kDeleted = " (deleted)";
constexpr std::string_view kAnonymous = "anon_inode:";
constexpr std::string_view kMemoryFile = "/memfd:";
constexpr long kMessageQueueMagic = 0x19800202;  // <linux/magic.h> does not have it

std::string fd_text(int fd) { return fmt::format("fd {}", fd); }

bool is_pty_slave(dev_t device) {
  constexpr unsigned kFirst = 136;
  constexpr unsigned kLast = 143;
  return gnu_dev_major(device) >= kFirst && gnu_dev_major(device) <= kLast;
}

bool is_terminal(dev_t device) {
  const unsigned major = gnu_dev_major(device);
  const unsigned minor = gnu_dev_minor(device);
  constexpr unsigned kSerial = 204;
  constexpr unsigned kHypervisor = 229;
  return is_pty_slave(device) || major == 4 || (major == 5 && minor != 2) || major == kSerial ||
         major == kHypervisor;
}

bool is_pty_master(const std::string& target) {
  return target == "/dev/ptmx" || target == "/dev/pts/ptmx";
}

using Open = OpenDescription;

class Capturer {
 public:
  explicit Capturer(CaptureContext& context)
      : context_(context),
        tty_(static_cast<dev_t>(context.process.stat().tty_device)),
        process_(static_cast<int>(::syscall(SYS_pidfd_open, context.process.pid(), 0))),
        same_(context.process) {}

  CapturedDescriptors run() {
    collect();
    for (const Open& open : numbered_) {
      Descriptor descriptor;
      descriptor.fd = open.fd;
      descriptor.close_on_exec = (open.info.flags & O_CLOEXEC) != 0;
      const auto shared = same_.find(open);
      descriptor.description = shared ? *shared : add(open);
      table_.descriptors.push_back(descriptor);
    }
    // What depends on all the others.
    for (const Open& open : opens_) {
      Description& description = table_.descriptions[open.description];
      if (description.kind == &kinds::kPipe) settle_pipe(open, description);
      if (auto* ring = description.as<IoUring>()) settle_io_uring(open, *ring);
      if (description.kind == &kinds::kEpoll)
        description.details =
            read_epoll(context_, open.object, open.info.text, open.own ? open.own.get() : -1,
                       [&](int fd, std::uint32_t slot, std::uint64_t inode, dev_t device) {
                         return find_watched(open, fd, slot, inode, device);
                       });
    }
    settle_all_sockets();
    return std::move(table_);
  }

 private:
  void collect() {
    for (const int fd : context_.process.descriptors()) {
      Open open;
      open.fd = fd;
      open.object = fd_text(fd);
      open.link = context_.process.path(fmt::format("fd/{}", fd));
      open.target = try_read_link(open.link).value_or("");
      if (::stat(open.link.c_str(), &open.status) != 0)
        throw_errno(fmt::format("stat fd {} ({})", fd, open.target), errno);
      open.info = context_.process.fdinfo(fd);
      note_access(open);
      numbered_.push_back(std::move(open));
    }
  }

  // One that came in a message.
  std::size_t add_passed(UniqueFd own, const std::string& carrier) {
    Open open;
    open.object = "message in " + carrier;
    open.link = fmt::format("/proc/self/fd/{}", own.get());
    open.target = try_read_link(open.link).value_or("");
    if (::fstat(own.get(), &open.status) != 0) throw_errno("stat a descriptor in a message", errno);
    open.info = proc::ProcessDir(::getpid()).fdinfo(own.get());
    open.own = std::move(own);
    note_access(open);
    if (const auto shared = same_.find(open)) return *shared;
    // It may be one of the program's own that was not come to yet.
    for (const Open& other : numbered_)
      if (same_.is_same(other, open)) return add(other);
    return add(std::move(open));
  }

  std::size_t add(const Open& numbered) {
    Open open;
    open.fd = numbered.fd;
    open.object = numbered.object;
    open.target = numbered.target;
    open.link = numbered.link;
    open.status = numbered.status;
    open.info = numbered.info;
    if (process_)
      open.own.reset(static_cast<int>(::syscall(SYS_pidfd_getfd, process_.get(), open.fd, 0)));
    return add(std::move(open));
  }

  std::size_t add(Open&& open) {
    open.description = table_.descriptions.size();
    table_.descriptions.emplace_back();
    opens_.push_back(std::move(open));
    const Open& kept = opens_.back();
    same_.add(kept);
    const std::size_t index = kept.description;
    Description description = describe(kept);  // may add others
    table_.descriptions[index] = std::move(description);
    return index;
  }

  // An entry keeps the number that it was made for, which mostly is still that of the file.
  std::optional<std::size_t> find_watched(const Open& epoll, int fd, std::uint32_t slot,
                                          std::uint64_t inode, dev_t device) {
    const bool is_ours = epoll.fd < 0;
    const pid_t process = is_ours ? ::getpid() : context_.process.through();
    kcmp_epoll_slot wanted{static_cast<__u32>(is_ours ? epoll.own.get() : epoll.fd),
                           static_cast<__u32>(fd), slot};
    const auto compare_with = [&](pid_t owner, int one) {
      return ::syscall(SYS_kcmp, owner, process, KCMP_EPOLL_TFD, static_cast<unsigned long>(one),
                       &wanted) == 0;
    };
    const auto is_it = [&](const Descriptor* descriptor) {
      return compare_with(context_.process.through(), descriptor->fd);
    };
    if (by_inode_.empty())
      for (const Descriptor& descriptor : table_.descriptors)
        by_inode_[inode_of(opens_.at(descriptor.description))].push_back(&descriptor);
    const auto& candidates = by_inode_[{device, inode}];
    const auto same_number = std::lower_bound(
        candidates.begin(), candidates.end(), fd,
        [](const Descriptor* descriptor, int number) { return descriptor->fd < number; });
    if (same_number != candidates.end() && (*same_number)->fd == fd && is_it(*same_number))
      return (*same_number)->description;
    const auto found = std::find_if(candidates.begin(), candidates.end(), is_it);
    if (found != candidates.end()) return (*found)->description;
    // It may be in a message only.
    for (const Open& open : opens_)
      if (open.fd < 0 && inode_of(open) == Inode{device, inode} &&
          compare_with(::getpid(), open.own.get()))
        return open.description;
    return std::nullopt;
  }

  Description describe(const Open& open) {
    Description description;
    description.path = open.target;
    description.flags = open.info.flags & ~static_cast<std::uint32_t>(O_CLOEXEC);
    description.offset_bytes = open.info.position_bytes;
    description.locks = read_locks(context_, open.object, open.info.locks);
    if (open.own) description.owner = read_owner(open.own.get());
    if (is_own_proc(open)) {
      describe_own_proc(open, description);
      return description;
    }
    if (auto process = process_of_file(open.target, open.status)) {
      describe_proc(*process, description);
      return description;
    }
    if ((description.flags & O_PATH) != 0) {
      describe_place(open, description);
      return description;
    }
    if (open.target.starts_with(kAnonymous)) {
      describe_anonymous(open, description);
      return description;
    }
    switch (open.status.st_mode & S_IFMT) {
      case S_IFREG: describe_regular(open, description); break;
      case S_IFDIR: describe_place(open, description); break;
      case S_IFCHR: describe_device(open, description); break;
      case S_IFIFO: describe_pipe(open, description); break;
      case S_IFSOCK: describe_socket(open, description); break;
      default: lose(open, description, kind_of_target(open.target)); break;
    }
    return description;
  }

  static std::string kind_of_target(const std::string& target) {
    std::string name = target.starts_with(kAnonymous) ? target.substr(kAnonymous.size())
                                                      : target.substr(0, target.find(':'));
    std::erase_if(name, [](char c) { return c == '[' || c == ']'; });
    return name.empty() ? "file" : name;
  }

  void lose(const Open& open, Description& description, const std::string& kind) {
    lose(open, description, kind, open.target);
  }

  void lose(const Open& open, Description& description, const std::string& kind,
            const std::string& what) {
    description.kind = &kinds::kLost;
    description.details = {};
    context_.report.add(
        Severity::lost, open.object, kind,
        fmt::format("{} does not come back: every use of the descriptor fails with EBADF",
                    what.empty() ? "a file that has no name" : what));
  }

  // --- what only the kernel has

  void describe_anonymous(const Open& open, Description& description) {
    const std::string name = kind_of_target(open.target);
    if (name == "io_uring") return describe_io_uring(open, description);
    if (name == "eventpoll") {
      description.kind = &kinds::kEpoll;  // entries when all others are known
      description.details = Epoll{};
      return;
    }
    const DescriptorKind* kind = find_anonymous_kind(name);
    const int own = open.own ? open.own.get() : -1;
    if (kind == nullptr ||
        !kind->describe({context_, open.object, open.info.text, own}, description))
      return lose(open, description, name);
    description.kind = kind;
  }

  void describe_io_uring(const Open& open, Description& description) {
    std::string why_not = "the kernel gives no access to it";
    std::optional<IoUring> ring;
    // Older kernels give all rings one inode: then nothing tells whose a mapping is.
    const bool only = std::none_of(numbered_.begin(), numbered_.end(), [&](const Open& other) {
      return other.status.st_ino == open.status.st_ino &&
             other.status.st_dev == open.status.st_dev && !same_.is_same(other, open);
    });
    if (!only)
      why_not = "its memory cannot be told from another's";
    else if (open.own && open.fd >= 0)
      ring = read_io_uring(context_, open.object, open.fd, open.own.get(), open.status.st_ino,
                           why_not);
    if (!ring)
      return lose(open, description, "io_uring", fmt::format("{} ({})", open.target, why_not));
    description.kind = &kinds::kIoUring;
    description.details = std::move(*ring);
  }

  // What a ring has registered is told by name only.
  void settle_io_uring(const Open& open, IoUring& ring) {
    const auto tell = [&](Severity severity, const std::string& what) {
      context_.report.add(severity, open.object, "io_uring", what);
    };
    std::map<std::string, std::size_t> seen;
    for (std::size_t i = 0; i < ring.file_names.size(); ++i) {
      ring.files.emplace_back();
      const std::string& name = ring.file_names[i];
      if (name.empty()) continue;
      const auto found = find_registered(name);
      if (found.empty()) {
        tell(Severity::lost, fmt::format("its registered file {} ({}), which the program has no "
                                         "descriptor of, does not come back",
                                         i, name));
        continue;
      }
      // The two ends of a pipe have one name: most likely they are in the order of their numbers.
      ring.files.back() =
          *std::next(found.begin(), static_cast<std::ptrdiff_t>(seen[name]++ % found.size()));
      if (found.size() > 1)
        tell(Severity::changed, fmt::format("its registered file {} is taken to be {}", i,
                                            description_name(table_.table(), *ring.files.back())));
    }
    if (!ring.has_eventfd) return;
    for (std::size_t i = 0; i < table_.descriptions.size(); ++i) {
      if (table_.descriptions[i].kind != &kinds::kEventfd) continue;
      if (ring.eventfd)
        return tell(Severity::lost,
                    "which eventfd it tells of completions is not "
                    "known: none will be told");
      ring.eventfd = i;
    }
    if (!ring.eventfd)
      tell(Severity::lost, "the eventfd that it tells of completions does not come back");
  }

  // Descriptions of that name, or whose path ends in it, as older kernels have it.
  std::set<std::size_t> find_registered(const std::string& name) const {
    std::set<std::size_t> found;
    for (std::size_t i = 0; i < numbered_.size(); ++i) {
      const std::string& target = numbered_[i].target;
      if (target == name || target.substr(target.rfind('/') + 1) == name)
        found.insert(table_.descriptors[i].description);
    }
    return found;
  }

  // --- files

  // What is opened again by its name.
  void describe_place(const Open& open, Description& description) {
    if (!open.target.starts_with('/')) return lose(open, description, kind_of_target(open.target));
    const auto [path, deleted] = name_of(open.status, open.target);
    const bool is_copied = deleted || path.starts_with(kMemoryFile);
    if (S_ISREG(open.status.st_mode) && is_copied) return describe_regular(open, description);
    description.kind = &kinds::kPath;
    if (S_ISDIR(open.status.st_mode)) description.details = describe_removed_entry(open.status);
    if (deleted) describe_removed(open, path, description);
  }

  void describe_removed(const Open& open, const std::string& path, Description& description) {
    if (S_ISDIR(open.status.st_mode)) {
      description.kind = &kinds::kRemovedDirectory;
      return;
    }
    std::optional<RemovedEntry> entry;
    const auto type = open.status.st_mode & S_IFMT;
    if (type == S_IFIFO || type == S_IFSOCK || stateless_device(open.status.st_rdev) != nullptr)
      entry = describe_removed_entry(open.status);  // by its name alone (O_PATH)
    else if (S_ISLNK(open.status.st_mode) && open.own)
      entry = describe_removed_link(open.status, open.own.get());
    if (!entry) return lose(open, description, "name", fmt::format("{}, which is removed,", path));
    description.kind = &kinds::kRemovedEntry;
    description.details = *entry;
  }

  bool is_own_proc(const Open& open) const {
    return open.target.starts_with(fmt::format("/proc/{}/", context_.process.pid())) ||
           open.target == fmt::format("/proc/{}", context_.process.pid());
  }

  void describe_own_proc(const Open& open, Description& description) {
    // A thread's file follows the thread.
    description.kind = &kinds::kOwnProc;
    if (open.target.ends_with(kDeleted)) lose(open, description, "/proc file of the process");
  }

  void describe_proc(const Identity& process, Description& description) {
    const auto threads = context_.process.threads();
    description.kind = &kinds::kPath;
    description.details = process;
    if (std::find(threads.begin(), threads.end(), process.pid) == threads.end()) return;
    // A thread of the program's own, by its number alone.
    constexpr std::string_view kProc = "/proc/";
    description.kind = &kinds::kOwnProc;
    description.details = {};
    description.path = fmt::format("/proc/{}/task/{}", context_.process.pid(),
                                   description.path.substr(kProc.size()));
  }

  // "net:[4026531833]"; those of others do not come back.
  bool is_own_namespace(const std::string& target) const {
    return context_.process.link("ns/" + target.substr(0, target.find(':'))) == target;
  }

  void describe_regular(const Open& open, Description& description) {
    struct statfs system {};
    const bool known = ::statfs(open.link.c_str(), &system) == 0;
    const auto magic = known ? static_cast<long>(system.f_type) : 0;
    if (magic == PROC_SUPER_MAGIC || magic == SYSFS_MAGIC) {
      description.kind = &kinds::kPath;
      return;
    }
    if (magic == kMessageQueueMagic) {
      if (!open.own) return lose(open, description, "message queue");
      description.kind = &kinds::kMessageQueue;
      description.details = read_message_queue(context_, open.object, open.own.get(), open.target);
      return;
    }
    if (magic == NSFS_MAGIC && is_own_namespace(open.target)) {
      description.kind = &kinds::kOwnProc;
      description.path = fmt::format("/proc/{}/ns/{}", context_.process.pid(),
                                     open.target.substr(0, open.target.find(':')));
      return;
    }
    if (!open.target.starts_with('/')) return lose(open, description, kind_of_target(open.target));
    if (open.target.starts_with("/secretmem")) return lose(open, description, "secret memory");
    description.kind = &kinds::kFile;
    const auto [path, deleted] = name_of(open.status, open.target);
    const bool in_memory = path.starts_with(kMemoryFile);
    description.file = describe_file(open.status, path, deleted || in_memory);
    KeptFile& file = *description.file;
    file.in_memory = in_memory;
    file.on_tmpfs = magic == TMPFS_MAGIC;
    if (file.deleted) describe_copied(open, file);
    if (magic == HUGETLBFS_MAGIC) file.huge_page_bytes = static_cast<std::uint64_t>(system.f_bsize);
    keep_content(open, file);
  }

  // By our own descriptor: the program's may be for the name alone (O_PATH).
  void describe_copied(const Open& open, KeptFile& file) {
    const UniqueFd reader = open_quietly(open.link);
    const int fd = reader ? reader.get() : open.own ? open.own.get() : -1;
    const int seals = file.in_memory && fd >= 0 ? ::fcntl(fd, F_GET_SEALS) : 0;
    file.seals = seals > 0 ? static_cast<std::uint32_t>(seals) : 0;
    file.attributes = read_file_attributes(context_, open.object, file.path, fd, open.status);
  }

  void keep_content(const Open& open, KeptFile& file) {
    // What has no name is a part of the program, however large it is.
    const bool writes = has_other_than(open, &reads_only);
    if (!file.deleted && !is_small_enough(open.status, writes, context_.file_limit_bytes)) {
      context_.report.add(writes ? Severity::lost : Severity::note, open.object, "file",
                          too_large_text(file.path, writes));
      return;
    }
    if (const auto known = contents_.find(inode_of(open)); known != contents_.end()) {
      file.object = known->second;
      return;
    }
    if (const UniqueFd fd = open_quietly(open.link)) {
      file.object = context_.objects.keep(fd.get(), file.path, false);
      contents_.emplace(inode_of(open), *file.object);
      return;
    }
    // A lease of another process, or permissions that the program has given up since: it can still
    // read.
    if (open.own && (open.info.flags & O_ACCMODE) != O_WRONLY) {
      const UniqueFd copy(::memfd_create("ckpt", MFD_CLOEXEC));
      if (!copy) throw_errno("memfd_create", errno);
      copy_content_in_place(open.own.get(), copy.get(), file.size_bytes, file.path);
      file.object = context_.objects.keep(copy.get(), file.path, false);
      return;
    }
    context_.report.add(
        file.deleted ? Severity::lost : Severity::note, open.object, "file",
        file.deleted
            ? fmt::format("{} has no name and may not be read: the restore will fail", file.path)
            : fmt::format("{} may not be read, so its content is not kept: it must be "
                          "unchanged at the restore",
                          file.path));
  }

  // --- devices

  void describe_device(const Open& open, Description& description) {
    const bool stands_for_own = open.target == "/dev/tty" && tty_ != 0;
    const dev_t device = stands_for_own ? tty_ : open.status.st_rdev;
    if (stateless_device(device) != nullptr) {
      description.kind = &kinds::kPath;
      if (!name_of(open.status, open.target).deleted) return;
      description.kind = &kinds::kRemovedEntry;
      description.details = describe_removed_entry(open.status);
    } else if (is_pty_master(open.target)) {
      describe_pty_master(open, description);
    } else if (is_pty_slave(device) && has_master(gnu_dev_minor(device))) {
      Pty pty;
      pty.index = static_cast<int>(gnu_dev_minor(device));
      pty.slave = Pty::Slave::open;
      int exclusive = 0;
      pty.exclusive =
          open.own && ::ioctl(open.own.get(), TIOCGEXCL, &exclusive) == 0 && exclusive != 0;
      description.kind = &kinds::kPtySlave;
      if (stands_for_own) description.path = fmt::format("/dev/pts/{}", pty.index);
      description.details = pty;
    } else if (is_terminal(device) &&
               (open.fd <= 2 || device == tty_ || is_standard(open) || open.target == "/dev/tty")) {
      description.kind = &kinds::kTerminal;
      description.stream = open.fd <= 2 ? open.fd : -1;
    } else {
      if (!is_pty_slave(device) || !is_hung_up(open)) return lose(open, description, "device");
      Pty pty;
      pty.index = static_cast<int>(gnu_dev_minor(device));
      pty.slave = Pty::Slave::open;
      pty.hung_up = true;
      description.kind = &kinds::kPtySlave;
      description.details = pty;
    }
  }

  // Its master is closed; also in other processes.
  static bool is_hung_up(const Open& open) {
    winsize size{};
    return open.own && ::ioctl(open.own.get(), TIOCGWINSZ, &size) != 0 && errno == EIO;
  }

  void describe_pty_master(const Open& open, Description& description) {
    const auto index = proc::number_field<int>(open.info.text, "tty-index");
    if (!index || !open.own) return lose(open, description, "pseudoterminal");
    description.kind = &kinds::kPtyMaster;
    const Pty pty = read_pty(context_, open.own.get(), *index);
    context_.report.add(
        Severity::changed, open.object, "pseudoterminal",
        has_slave(*index)
            ? fmt::format("/dev/pts/{} may come back with another number", *index)
            : fmt::format("/dev/pts/{} is used by others alone: it comes back closed by them",
                          *index));
    description.details = pty;
  }

  bool has_master(unsigned index) const {
    return std::any_of(numbered_.begin(), numbered_.end(), [&](const Open& other) {
      return is_pty_master(other.target) &&
             proc::number_field<unsigned>(other.info.text, "tty-index") == index;
    });
  }

  bool has_slave(int index) const {
    return std::any_of(numbered_.begin(), numbered_.end(), [&](const Open& other) {
      return S_ISCHR(other.status.st_mode) && is_pty_slave(other.status.st_rdev) &&
             static_cast<int>(gnu_dev_minor(other.status.st_rdev)) == index;
    });
  }

  // Whether one of 0, 1, 2 is the same object.
  bool is_standard(const Open& open) const { return standard_of(open) >= 0; }

  int standard_of(const Open& open) const {
    for (const Open& other : numbered_)
      if (other.fd <= 2 && other.status.st_ino == open.status.st_ino &&
          other.status.st_dev == open.status.st_dev &&
          (other.info.flags & O_ACCMODE) == (open.info.flags & O_ACCMODE))
        return other.fd;
    return -1;
  }

  // --- pipes

  void describe_pipe(const Open& open, Description& description) {
    description.kind = &kinds::kPipe;
    Pipe pipe;
    pipe.id = open.status.st_ino;
    if (!writes_only(description.flags))
      if (const int fd = ::open(open.link.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); fd >= 0) {
        const UniqueFd owned(fd);
        pipe = read_pipe(fd, open.status.st_ino);
      }
    pipe.named = !open.target.starts_with("pipe:");
    pipe.device = open.status.st_dev;
    pipe.mode = open.status.st_mode & 0777U;
    pipe.removed = pipe.named && name_of(open.status, open.target).deleted;
    pipe.ended = open.own && has_ended(open.own.get());
    description.details = std::move(pipe);
  }

  // Whether the program has a description of the same file whose flags are not of that kind.
  [[nodiscard]] bool has_other_than(const Open& open, bool (*kind)(std::uint32_t)) const {
    const auto& ways = accesses_.at(inode_of(open));
    return std::any_of(ways.begin(), ways.end(), [&](std::uint32_t way) { return !kind(way); });
  }

  void note_access(const Open& open) {
    accesses_[inode_of(open)].insert(open.info.flags & static_cast<std::uint32_t>(O_ACCMODE));
  }

  void settle_pipe(const Open& open, Description& description) {
    const Pipe& pipe = description.get<Pipe>();
    const bool outside = !has_other_than(open, &writes_only) || !has_other_than(open, &reads_only);
    if (!outside) return;
    const int standard = standard_of(open);
    if (standard >= 0 && pipe.content.empty()) {
      description.kind = &kinds::kStream;
      description.details = {};
      description.stream = standard;
      context_.report.add(Severity::changed, open.object, "pipe",
                          fmt::format("{} leads out of the program: it comes back as the {} of the "
                                      "restore",
                                      open.target, stream_name(standard)));
      return;
    }
    if (pipe.ended && !pipe.named) return;  // no process has the other end: it is as it will be
    context_.report.add(
        Severity::changed, open.object, pipe.named ? "FIFO" : "pipe",
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

  // --- sockets

  void describe_socket(const Open& open, Description& description) {
    std::string why_not = "the kernel gives no access to it";
    std::optional<Socket> socket;
    if (open.own)
      socket = read_socket(
          context_, open.own.get(), open.status.st_ino,
          [&](UniqueFd passed) { return add_passed(std::move(passed), open.object); },
          socket_answers_, why_not);
    if (socket) {
      description.kind = &kinds::kSocket;
      description.details = std::move(*socket);
    } else if (const int standard = standard_of(open); standard >= 0) {
      become_stream(open, description, standard);
    } else {
      lose(open, description, "socket", fmt::format("{} ({})", open.target, why_not));
    }
  }

  void become_stream(const Open& open, Description& description, int standard) {
    description.kind = &kinds::kStream;
    description.details = {};
    description.stream = standard;
    context_.report.add(Severity::changed, open.object, "socket",
                        fmt::format("{} leads out of the program: it comes back as the {} of the "
                                    "restore",
                                    open.target, stream_name(standard)));
  }

  void settle_all_sockets() {
    std::vector<NamedSocket> sockets;
    for (const Open& open : opens_)
      if (auto* socket = table_.descriptions[open.description].as<Socket>())
        sockets.push_back({socket, open.object, standard_of(open) >= 0});
    settle_sockets(context_, sockets);
    // A standard stream whose far end is outside is the restore's own.
    for (const Open& open : opens_) {
      Description& description = table_.descriptions[open.description];
      const auto* socket = description.as<Socket>();
      const int standard = standard_of(open);
      if (socket != nullptr && standard >= 0 && socket->role == SocketRole::dead &&
          socket->queue.empty())
        become_stream(open, description, standard);
    }
  }

  CaptureContext& context_;
  dev_t tty_;
  UniqueFd process_;
  std::vector<Open> numbered_;
  SocketAnswers socket_answers_;
  std::deque<Open> opens_;                             // one for each description, in their order
  std::map<Inode, std::set<std::uint32_t>> accesses_;  // O_RDONLY, O_WRONLY, O_RDWR
  std::map<Inode, store::ObjectRef> contents_;
  SameDescriptions same_;
  std::map<Inode, std::vector<const Descriptor*>> by_inode_;  // of what has a number; ascending
  CapturedDescriptors table_;
};

}  // namespace

std::optional<int> own_terminal(const proc::ProcessDir& process, const DescriptorTable& table) {
  const proc::Stat stat = process.stat();
  const auto device = static_cast<dev_t>(stat.tty_device);
  if (stat.session != process.pid() || !is_pty_slave(device)) return std::nullopt;
  const int index = static_cast<int>(gnu_dev_minor(device));
  const bool is_inside = std::any_of(
      table.descriptions.begin(), table.descriptions.end(), [&](const Description& one) {
        return one.kind == &kinds::kPtyMaster && one.get<Pty>().index == index;
      });
  return is_inside ? std::optional(index) : std::nullopt;
}

CapturedDescriptors capture_descriptors(CaptureContext& context) { return Capturer(context).run(); }

}  // namespace ckpt::state
