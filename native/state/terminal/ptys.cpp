#include "state/terminal/ptys.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/process_dir.hpp"

namespace ckpt::state {

namespace {

using image::Json;

termios modes_of(int fd) {
  termios modes{};
  if (::tcgetattr(fd, &modes) != 0) throw_errno("read a pseudoterminal's modes", errno);
  return modes;
}

bool has_slave(Tid pid, dev_t device) {
  const proc::ProcessDir process(pid);
  for (const auto& [fd, link] : process.descriptor_links()) {
    struct stat status {};
    if (link.starts_with("/dev/") &&
        ::stat(process.path(fmt::format("fd/{}", fd)).c_str(), &status) == 0 &&
        S_ISCHR(status.st_mode) && status.st_rdev == device)
      return true;
  }
  return false;
}

bool anyone_has_slave(int index) {
  constexpr unsigned kMajor = 136;
  const dev_t device = gnu_dev_makedev(kMajor, static_cast<unsigned>(index));
  const auto all = proc::all_processes();
  return std::any_of(all.begin(), all.end(), [&](Tid pid) {
    try {
      return has_slave(pid, device);
    } catch (const Error&) {
      return false;  // it has ended, or we may not look
    }
  });
}

// A master hangs up when its slave is closed, but not before that was ever opened: then we must not
// either. Who has a slave open the kernel does not tell; one that controls a session was opened.
Pty::Slave slave_of(int master, int index) {
  pollfd state{master, POLLIN, 0};
  ::poll(&state, 1, 0);
  if ((state.revents & POLLHUP) != 0) return Pty::Slave::closed;
  return ::tcgetsid(master) > 0 || anyone_has_slave(index) ? Pty::Slave::open
                                                           : Pty::Slave::never_open;
}

void lock(int master, bool locked) {
  const int value = locked ? 1 : 0;
  if (::ioctl(master, TIOCSPTLCK, &value) != 0) throw_errno("lock a pseudoterminal", errno);
}

// A slave can be opened while it is not locked only.
UniqueFd open_for_content(int master, bool locked) {
  if (locked) lock(master, false);
  UniqueFd slave = open_slave(master, O_RDWR | O_NONBLOCK);
  if (locked) lock(master, true);
  return slave;
}

// A pair holds twice as much each way: more only lets a writer wait. Whether it does is for all who
// share the description, the program too (O_NONBLOCK).
class NotWaiting {
 public:
  NotWaiting(int fd, const PtyContent& content)
      : fd_(fd), flags_(size_of(content) > kSurelyFits ? ::fcntl(fd, F_GETFL) : O_NONBLOCK) {
    if ((flags_ & O_NONBLOCK) == 0) ::fcntl(fd_, F_SETFL, flags_ | O_NONBLOCK);
  }
  ~NotWaiting() {
    if ((flags_ & O_NONBLOCK) == 0) ::fcntl(fd_, F_SETFL, flags_);
  }
  NotWaiting(const NotWaiting&) = delete;
  NotWaiting& operator=(const NotWaiting&) = delete;

 private:
  static constexpr std::size_t kSurelyFits = 4096;
  static std::size_t size_of(const PtyContent& content) {
    std::size_t bytes = content.input.size();
    for (const auto& line : content.lines) bytes += 2 * line.bytes.size();
    return bytes;
  }

  int fd_;
  int flags_;
};

void put_without_waiting(int master, int slave, const PtySettings& settings,
                         const PtyContent& content) {
  const NotWaiting not_waiting(master, content);
  put_content(master, slave, settings, content);
}

PtyContent take_and_put_back(int master, int slave, const PtySettings& settings) {
  PtyContent content;
  try {
    take_content(master, slave, settings, content);
  } catch (const Error&) {
    put_without_waiting(master, slave, settings, content);
    throw;
  }
  put_without_waiting(master, slave, settings, content);
  return content;
}

}  // namespace

UniqueFd open_slave(int master, int flags) {
  return UniqueFd(::ioctl(master, TIOCGPTPEER, flags | O_NOCTTY | O_CLOEXEC));
}

namespace {

// Which the file system is mounted with.
std::optional<gid_t> group_of_new_pty() {
  const UniqueFd master(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!master) return std::nullopt;
  lock(master.get(), false);
  const UniqueFd slave = open_slave(master.get(), O_RDWR);
  struct stat status {};
  if (!slave || ::fstat(slave.get(), &status) != 0) return std::nullopt;
  return status.st_gid;
}

void read_permissions(const CaptureContext& context, int slave, Pty& pty) {
  struct stat status {};
  if (::fstat(slave, &status) != 0) return;
  pty.mode = status.st_mode & ALLPERMS;
  const auto uids = context.process.status().uids;
  const bool is_usual = std::find(uids.begin(), uids.end(), status.st_uid) != uids.end() &&
                        status.st_gid == group_of_new_pty();
  if (!is_usual) pty.owner = {status.st_uid, status.st_gid};
}

}  // namespace

Pty read_pty(CaptureContext& context, int master, int index) {
  Pty pty;
  pty.index = index;
  int value = 0;
  pty.locked = ::ioctl(master, TIOCGPTLCK, &value) == 0 && value != 0;
  pty.settings.packets = ::ioctl(master, TIOCGPKT, &value) == 0 && value != 0;
  pty.settings.modes = modes_of(master);  // of a master: the slave's
  ::ioctl(master, TIOCGWINSZ, &pty.size);
  pty.slave = slave_of(master, index);
  const auto tell = [&](Severity severity, std::string_view what) {
    context.report.add(severity, fmt::format("/dev/pts/{}", index), "pseudoterminal",
                       std::string(what));
  };
  if (pty.slave == Pty::Slave::never_open) {
    const bool waits = ::ioctl(master, FIONREAD, &value) == 0 && value != 0;
    tell(waits ? Severity::lost : Severity::note,
         "no process is seen that has opened the slave: what may wait in it does not come back");
    return pty;
  }
  const UniqueFd slave = open_for_content(master, pty.locked);
  if (!slave) {
    tell(Severity::lost, "what waits in it to be read does not come back");
    return pty;
  }
  read_permissions(context, slave.get(), pty);
  pty.content = take_and_put_back(master, slave.get(), pty.settings);
  if (pty.content.status != 0 && pty.content.stop != PtyContent::Stop::none &&
      (pty.content.status & TIOCPKT_STOP) == 0)
    tell(Severity::changed, "its master is told again that the output is stopped");
  return pty;
}

const image::Fields<Pty>& fields_of(const Pty* /*type*/) {
  using enum image::Presence;
  using Field = image::Field<Pty>;
  using Owner = image::Row<Pty::Owner, &Pty::Owner::uid, &Pty::Owner::gid>;
  using image::inside;
  static const image::Fields<Pty> fields = {
      "pseudoterminal",
      {{"index", &Pty::index, "of /dev/pts"},
       Field::as<image::Struct<termios>>("modes", inside(&Pty::settings, &PtySettings::modes),
                                         "struct termios"),
       Field::as<image::Struct<winsize>>("size", &Pty::size, "struct winsize"),
       {"locked", &Pty::locked, ""},
       {"packets", inside(&Pty::settings, &PtySettings::packets), "TIOCPKT"},
       Field::as<image::Numbered<Pty::Slave::never_open>>(
           "slave", &Pty::slave, "0 open in some process, 1 closed, 2 never opened", later),
       {"exclusive", &Pty::exclusive, "of a slave: TIOCEXCL", later},
       {"hung_up", &Pty::hung_up, "of a slave: its master is closed", later},
       Field::as<image::Optional<Pty::Owner, Owner>>(
           "owner", &Pty::owner, "user and group, if they are not those of a new one", later),
       {"mode", &Pty::mode, "permissions", later},
       {"content", &Pty::content, ""}},
      [](Pty& pty) {
        pty.mode &= ALLPERMS;
        check_content(pty.content, pty.settings.modes);
      }};
  return fields;
}

UniqueFd make_pty(const Pty& pty, int flags) {
  UniqueFd master = open_file("/dev/ptmx", O_RDWR | O_NOCTTY | (flags & O_NONBLOCK));
  lock(master.get(), false);
  ::ioctl(master.get(), TIOCSWINSZ, &pty.size);
  return master;
}

UniqueFd make_hung_up(int flags) {
  const UniqueFd master = make_pty({}, 0);
  UniqueFd slave = open_slave(master.get(), flags);
  if (!slave) throw_errno("open the other end of a pseudoterminal", errno);
  return slave;
}

namespace {

std::string give_permissions(int slave, const Pty& pty) {
  std::string why_not;
  if (pty.owner && ::fchown(slave, pty.owner->uid, pty.owner->gid) != 0)
    why_not = fmt::format("its owner cannot be {}:{} again ({})", pty.owner->uid, pty.owner->gid,
                          describe_errno(errno));
  struct stat now {};
  if (::fstat(slave, &now) == 0 && (now.st_mode & ALLPERMS) != pty.mode) ::fchmod(slave, pty.mode);
  return why_not;
}

}  // namespace

std::string fill_pty(int master, const Pty& pty) {
  std::string why_not;
  if (pty.slave == Pty::Slave::never_open) {
    if (::tcsetattr(master, TCSANOW, &pty.settings.modes) != 0)
      throw_errno("set a pseudoterminal's modes", errno);
    const int packets = pty.settings.packets ? 1 : 0;
    ::ioctl(master, TIOCPKT, &packets);
  } else {
    const UniqueFd slave = open_slave(master, O_RDWR | O_NONBLOCK);
    if (!slave) throw_errno("open the other end of a pseudoterminal", errno);
    why_not = give_permissions(slave.get(), pty);
    put_without_waiting(master, slave.get(), pty.settings, pty.content);
  }
  if (pty.locked) lock(master, true);
  return why_not;
}

}  // namespace ckpt::state
