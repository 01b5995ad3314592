#include "snapshot/new_process.hpp"

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <optional>

#include "base/coverage.hpp"
#include "base/error.hpp"
#include "state/process/creation.hpp"
#include "tracee/child.hpp"
#include "tracee/ptrace.hpp"

namespace ckpt::snapshot {

namespace {

// Where the kernel puts new mappings is decided at exec, from the stack's limit and the
// personality (mmap_base() in arch/x86/mm/mmap.c: TASK_SIZE - limit - gap, without randomisation).
// With a base above the restored stack new mappings would come to lie right below the stack and
// stop its growth. So: no randomisation, and a limit that leads to the base there was.
struct Layout {
  std::uint64_t personality = 0;
  std::optional<std::uint64_t> stack_limit_bytes;
};

Layout plan_layout(const Snapshot& snapshot) {
  constexpr std::uint64_t kStackGuardGap = 256 * kPageSize;
  constexpr std::uint64_t kLeastGap = 128ULL << 20U;
  Layout layout;
  layout.personality = snapshot.saved.process.personality | ADDR_NO_RANDOMIZE;
  if ((snapshot.saved.process.personality & ADDR_NO_RANDOMIZE) != 0) {
    const auto& limits = snapshot.saved.process.limits;
    if (limits.size() > RLIMIT_STACK && limits[RLIMIT_STACK].first != RLIM_INFINITY)
      layout.stack_limit_bytes = limits[RLIMIT_STACK].first;
    return layout;
  }
  Addr top{0};
  for (const auto& region : snapshot.saved.space.regions) {
    const bool is_stack = region.mapping.contains(snapshot.saved.space.bounds.start_stack);
    if (is_stack || region.backing == state::Backing::kernel) continue;
    if (region.mapping.end < snapshot.saved.space.bounds.start_stack)
      top = std::max(top, region.mapping.end);
  }
  // A static program may have nothing up there: leave room for the stack then.
  const Addr highest = snapshot.saved.space.bounds.start_stack - kLeastGap;
  if (top > highest || snapshot.saved.space.bounds.start_stack - top > (64ULL << 30U))
    top = highest;
  layout.stack_limit_bytes = arch::kTaskEnd.value - page_up(top.value) - kStackGuardGap;
  return layout;
}

// What runs in the child between fork and exec: only calls that are safe there.
[[noreturn]] void become(const std::string& program, const Layout& layout,
                         const TransplantOptions& options, bool own_session,
                         const std::vector<int>& inherited, int report_fd, Tid parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // A parent that died before the line above would never be missed.
  if (::getppid() != parent) ::_exit(127);
  if (own_session)
    ::setsid();
  else if (options.own_process_group)
    ::setpgid(0, 0);
  for (const int fd : inherited) ::fcntl(fd, F_SETFD, 0);
  if (layout.stack_limit_bytes) {
    rlimit limit{};
    ::getrlimit(RLIMIT_STACK, &limit);
    limit.rlim_cur = std::min<rlim_t>(*layout.stack_limit_bytes, limit.rlim_max);
    ::setrlimit(RLIMIT_STACK, &limit);
  }
  ::personality(layout.personality);
  // No signal of the terminal may interfere while the state is put together; SIGTRAP is the one
  // with which execve stops a traced process.
  sigset_t all;
  sigfillset(&all);
  sigdelset(&all, SIGTRAP);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  int error_number = 0;
  if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) {
    error_number = errno;
  } else {
    std::array<char*, 2> arguments = {const_cast<char*>(program.c_str()), nullptr};
    std::array<char*, 1> environment = {nullptr};
    write_coverage();
    ::execve(program.c_str(), arguments.data(), environment.data());
    error_number = errno;
  }
  [[maybe_unused]] const ssize_t n = ::write(report_fd, &error_number, sizeof error_number);
  write_coverage();
  ::_exit(127);
}

Tid fork_with_id(Tid wanted) {
  clone_args arguments{};
  arguments.exit_signal = SIGCHLD;
  if (wanted != 0) {
    arguments.set_tid = reinterpret_cast<std::uint64_t>(&wanted);
    arguments.set_tid_size = 1;
  }
  return static_cast<Tid>(::syscall(SYS_clone3, &arguments, sizeof arguments));
}

}  // namespace

Tid start_program(const Snapshot& snapshot, const std::string& program,
                  const TransplantOptions& options, const std::vector<int>& inherited,
                  bool keep_ids, unsigned long trace_options) {
  const Layout layout = plan_layout(snapshot);
  std::array<int, 2> report{};
  if (::pipe2(report.data(), O_CLOEXEC) != 0) throw_errno("pipe", errno);
  const UniqueFd reader(report[0]);
  UniqueFd writer(report[1]);
  const Tid parent = ::getpid();
  const Tid wanted = keep_ids ? snapshot.saved.process.remembered.pid : 0;
  const Tid pid = fork_with_id(wanted);
  if (pid < 0) state::throw_not_created("a process", wanted, errno);
  if (pid == 0)
    become(program, layout, options, snapshot.saved.process.own_session, inherited, writer.get(),
           parent);
  writer.reset();
  tracee::Child child(pid);
  int error_number = 0;
  if (::read(reader.get(), &error_number, sizeof error_number) == sizeof error_number)
    throw_errno(fmt::format("execute {}", program), error_number);
  const int status = tracee::wait_stop(pid);  // the SIGTRAP that execve causes
  if (WSTOPSIG(status) != SIGTRAP)
    fail(ErrorKind::refused, "the new process {}", tracee::describe_status(status));
  tracee::set_options(pid, trace_options);
  return child.release();
}

}  // namespace ckpt::snapshot
