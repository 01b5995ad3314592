#include "state/surroundings/other_process.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string_view>

#include "arch/arch.hpp"
#include "base/error.hpp"
#include "proc/process_dir.hpp"
#include "proc/text.hpp"

namespace ckpt::state {

namespace {

constexpr std::string_view kProc = "/proc/";
constexpr std::string_view kEnded = " (deleted)";  // behind the name of a directory

// "/stat" of "/proc/17/stat".
std::string_view rest_of(std::string_view target) {
  const auto slash = target.find('/', kProc.size());
  return slash == target.npos ? "" : target.substr(slash);
}

}  // namespace

std::optional<Identity> process_of_file(const std::string& target, const struct stat& status) {
  if (!target.starts_with(kProc)) return std::nullopt;
  std::string_view number = target;
  number.remove_prefix(kProc.size());
  number.remove_suffix(rest_of(target).size());
  if (number.ends_with(kEnded)) number.remove_suffix(kEnded.size());
  const auto pid = proc::parse_number<Tid>(number);
  if (!pid) return std::nullopt;
  Identity identity{*pid, 0, boot_id()};
  // A file of the process that has the number now is another one.
  struct stat now {};
  if (::stat(target.c_str(), &now) == 0 && now.st_ino == status.st_ino &&
      now.st_dev == status.st_dev) {
    try {
      identity.start_ticks = proc::ProcessDir(*pid).stat().start_time_ticks;
    } catch (const Error&) {  // it has ended meanwhile
    }
  }
  return identity;
}

const image::Fields<Identity>& fields_of(const Identity* /*type*/) {
  static const image::Fields<Identity> fields = {
      "other_process",
      {{"pid", &Identity::pid, ""},
       {"start_ticks", &Identity::start_ticks, "as of a [process](#process); 0: it had ended"},
       {"boot_id", &Identity::boot_id, ""}}};
  return fields;
}

BriefProcess::BriefProcess() {
  const Tid parent = ::getpid();
  // Neither shared memory nor a signal at its end.
  pid_ = static_cast<Tid>(::syscall(SYS_clone, 0, 0, 0, 0, 0));
  if (pid_ < 0) throw_errno("make a process", errno);
  if (pid_ != 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  while (::getppid() == parent) ::syscall(arch::kSysPause);
  ::_exit(0);
}

BriefProcess::~BriefProcess() {
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, __WALL) < 0 && errno == EINTR) {
  }
}

UniqueFd open_of_process(const std::string& target, const Identity& process, int flags,
                         bool& gone) {
  gone = !still_runs(process);
  if (!gone) {
    UniqueFd fd(::open(target.c_str(), flags));
    if (fd) return fd;
    gone = true;
  }
  const BriefProcess brief;
  const std::string directory = fmt::format("{}{}", kProc, brief.pid());
  UniqueFd fd(::open((directory + std::string(rest_of(target))).c_str(), flags));
  // It has not all that the other had: a descriptor, a thread.
  if (!fd) fd.reset(::open((directory + "/comm").c_str(), flags & ~O_DIRECTORY));
  if (!fd) throw_errno(fmt::format("open {}", target), errno);
  return fd;
}

}  // namespace ckpt::state
