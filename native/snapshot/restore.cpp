#include "snapshot/restore.hpp"

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/mman.h>
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

#include "base/error.hpp"
#include "base/fault.hpp"
#include "base/io.hpp"
#include "snapshot/capture.hpp"
#include "snapshot/environment.hpp"
#include "snapshot/ids.hpp"
#include "snapshot/kernel_pages.hpp"
#include "snapshot/machine.hpp"
#include "state/aio.hpp"
#include "state/creation.hpp"
#include "state/huge_pages.hpp"
#include "state/name_cache.hpp"
#include "state/terminal.hpp"
#include "tracee/remote.hpp"

namespace ckpt::snapshot {

namespace {

using state::ThreadState;
using tracee::RemoteThread;
using tracee::Scratch;

constexpr unsigned long kTraceOptions =
    PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE;

constexpr std::uint64_t kScratchDataBytes = 1U << 20U;

/// Kills the process unless it was released: a failed restore leaves nothing behind.
class Child {
 public:
  explicit Child(Tid pid) : pid_(pid) {}
  Child(Child&&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    // Its threads that we trace are ours to collect, each by itself, and their leader ends after
    // them: waiting for the leader alone would take for ever.
    for (;;) {
      int status = 0;
      const pid_t got = ::waitpid(-1, &status, __WALL);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 || (got == pid_ && !WIFSTOPPED(status))) return;
      if (WIFSTOPPED(status)) ::kill(pid_, SIGKILL);
    }
  }
  [[nodiscard]] Tid pid() const { return pid_; }
  Tid release() { return std::exchange(pid_, 0); }

 private:
  Tid pid_;
};

// Everything that the program inherits, at numbers that it does not use itself.
struct Inherited {
  std::vector<UniqueFd> owned;
  std::vector<int> numbers;  // in the program and here alike
};

// For a while each file is open twice; the program gets its own limit in the end. The hard one only
// root may raise, to fs.nr_open at most, which is this unless somebody has changed it.
void raise_file_limit() {
  constexpr rlim_t kMost = 1U << 20U;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlimit wanted{std::max(limit.rlim_max, kMost), std::max(limit.rlim_max, kMost)};
  if (::setrlimit(RLIMIT_NOFILE, &wanted) == 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

class InheritedBuilder {
 public:
  explicit InheritedBuilder(int first) : next_(first) {}

  int add(UniqueFd fd) {
    UniqueFd high(::fcntl(fd.get(), F_DUPFD_CLOEXEC, next_));
    if (!high)
      throw_errno(
          "too many open files for this restore (RLIMIT_NOFILE): raise the hard limit (ulimit -Hn)",
          errno);
    next_ = high.get() + 1;
    const int number = high.get();
    owned_.push_back(std::move(high));
    return number;
  }
  [[nodiscard]] const std::vector<UniqueFd>& owned() const { return owned_; }

 private:
  int next_;
  std::vector<UniqueFd> owned_;
};

// Where the kernel puts new mappings is decided at exec, from the stack's limit and the
// personality (mmap_base() in arch/x86/mm/mmap.c: TASK_SIZE - limit - gap, without randomisation).
// With a base above the restored stack new mappings would come to lie right below the stack and
// stop its growth. So: no randomisation, and a limit that leads to the base there was.
struct Layout {
  std::uint64_t personality = 0;
  std::optional<std::uint64_t> stack_limit_bytes;
};

Layout plan_layout(const Snapshot& snapshot) {
  constexpr std::uint64_t kTaskSize = 0x7ffffffff000;
  constexpr std::uint64_t kStackGuardGap = 256 * kPageSize;
  constexpr std::uint64_t kLeastGap = 128ULL << 20U;
  Layout layout;
  layout.personality = snapshot.process.personality | ADDR_NO_RANDOMIZE;
  if ((snapshot.process.personality & ADDR_NO_RANDOMIZE) != 0) {
    const auto& limits = snapshot.process.limits;
    if (limits.size() > RLIMIT_STACK && limits[RLIMIT_STACK].first != RLIM_INFINITY)
      layout.stack_limit_bytes = limits[RLIMIT_STACK].first;
    return layout;
  }
  Addr top{0};
  for (const auto& region : snapshot.space.regions) {
    const bool is_stack = region.mapping.contains(snapshot.space.bounds.start_stack);
    if (is_stack || region.backing == state::Backing::kernel) continue;
    if (region.mapping.end < snapshot.space.bounds.start_stack)
      top = std::max(top, region.mapping.end);
  }
  // A static program may have nothing up there: leave room for the stack then.
  const Addr highest = snapshot.space.bounds.start_stack - kLeastGap;
  if (top > highest || snapshot.space.bounds.start_stack - top > (64ULL << 30U)) top = highest;
  layout.stack_limit_bytes = kTaskSize - page_up(top.value) - kStackGuardGap;
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
  // No signal of the terminal's may interfere while the state is put together; SIGTRAP is the one
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
    ::execve(program.c_str(), arguments.data(), environment.data());
    error_number = errno;
  }
  [[maybe_unused]] const ssize_t n = ::write(report_fd, &error_number, sizeof error_number);
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

Tid start_program(const Snapshot& snapshot, const std::string& program,
                  const TransplantOptions& options, const std::vector<int>& inherited,
                  bool keep_ids) {
  const Layout layout = plan_layout(snapshot);
  std::array<int, 2> report{};
  if (::pipe2(report.data(), O_CLOEXEC) != 0) throw_errno("pipe", errno);
  const UniqueFd reader(report[0]);
  UniqueFd writer(report[1]);
  const Tid parent = ::getpid();
  const Tid wanted = keep_ids ? snapshot.process.remembered.pid : 0;
  const Tid pid = fork_with_id(wanted);
  if (pid < 0) state::throw_not_created("a process", wanted, errno);
  if (pid == 0)
    become(program, layout, options, snapshot.process.own_session, inherited, writer.get(), parent);
  writer.reset();
  Child child(pid);
  int error_number = 0;
  if (::read(reader.get(), &error_number, sizeof error_number) == sizeof error_number)
    throw_errno(fmt::format("execute {}", program), error_number);
  const int status = tracee::wait_stop(pid);  // the SIGTRAP that execve causes
  if (WSTOPSIG(status) != SIGTRAP)
    fail(ErrorKind::refused, "the new process {}", tracee::describe_status(status));
  tracee::set_options(pid, kTraceOptions);
  return child.release();
}

struct Opened {
  std::vector<int> descriptions;
  state::MappedFiles mapped;
  state::OpenedDescriptions table;
  int image = -1;
  std::vector<int> all;
};

Opened open_everything(const Snapshot& snapshot, state::FileSource& files,
                       InheritedBuilder& builder) {
  using Use = state::FileSource::Use;
  Opened opened;
  opened.table =
      state::open_descriptions(snapshot.descriptors, snapshot.process.removed_directory, files);
  for (auto& fd : opened.table.fds)
    opened.descriptions.push_back(fd ? builder.add(std::move(fd)) : -1);
  std::map<std::string, int> by_file;
  for (std::size_t i = 0; i < snapshot.space.regions.size(); ++i) {
    const auto& region = snapshot.space.regions[i];
    if (!region.file) continue;
    const bool shared = region.backing == state::Backing::shared_file;
    // "mw": may be made writable, so the file must have been open for writing.
    const bool writable = shared && region.mapping.has_flag("mw");
    const std::string key = fmt::format("{}:{}:{}:{}:{}", region.file->device, region.file->inode,
                                        region.file->path, shared, writable);
    auto known = by_file.find(key);
    if (known == by_file.end()) {
      const Use use = shared ? Use::data : Use::code;
      UniqueFd fd;
      try {
        fd = files.open(*region.file, use, writable ? O_RDWR : O_RDONLY);
      } catch (const Error& error) {
        if (!writable || region.mapping.write || error.error_number() != EACCES) throw;
        fd = files.open(*region.file, use, O_RDONLY);
      }
      known = by_file.emplace(key, builder.add(std::move(fd))).first;
    }
    opened.mapped[i] = known->second;
  }
  opened.image = builder.add(UniqueFd(::fcntl(snapshot.reader.fd(), F_DUPFD_CLOEXEC, 3)));
  for (const auto& fd : builder.owned()) opened.all.push_back(fd.get());
  return opened;
}

// Queues signals as they were: for the process if `tid` is 0. Runs in any thread.
void queue_again(const Snapshot& snapshot, RemoteThread& thread, const Scratch& scratch,
                 const tracee::Memory& memory, const std::vector<siginfo_t>& signals, Tid pid,
                 Tid tid) {
  for (const siginfo_t& info : signals)
    if (!state::expire_again(thread, scratch, memory, snapshot.timers, info,
                             [&] { return tracee::peek_signals(thread.tid(), tid == 0); }))
      state::queue_signals(thread, scratch, memory, {info}, pid, tid);
}

std::map<Tid, Tid> ids_then_and_now(const Snapshot& snapshot, const std::vector<Tid>& tids) {
  std::map<Tid, Tid> ids;
  for (std::size_t i = 0; i < snapshot.threads.size() && i < tids.size(); ++i)
    ids[snapshot.threads[i].tid] = tids[i];
  return ids;
}

// What getpid() and its like would say in the new process.
state::ProcessIds ids_of_process(const Snapshot& snapshot, const TransplantOptions& options,
                                 Tid pid) {
  const bool leads_session = snapshot.process.own_session;
  const bool leads_group = leads_session || options.own_process_group;
  return {pid, ::getpid(), leads_group ? pid : ::getpgrp(), leads_session ? pid : ::getsid(0)};
}

state::IdChange change_of_ids(const Snapshot& snapshot, const TransplantOptions& options,
                              const Transplanted& result) {
  state::IdChange change;
  for (std::size_t i = 0; i < snapshot.threads.size(); ++i)
    change.threads[snapshot.threads[i].lwp] = result.tids[i];
  change.group_before = snapshot.process.group;
  change.group_now = ids_of_process(snapshot, options, result.pid).group;
  return change;
}

// A number that the program remembers must not lead to somebody else's object.
bool needs_own_ipc(const Snapshot& snapshot, bool original_runs) {
  const auto& regions = snapshot.space.regions;
  const auto is_in_the_way = [&](const state::Region& region) {
    return region.segment && (original_runs || state::is_taken(*region.segment));
  };
  return std::any_of(regions.begin(), regions.end(), is_in_the_way) ||
         (original_runs && !snapshot.sysv.empty()) || state::is_missing(snapshot.sysv);
}

Transplanted transplant_once(const Snapshot& snapshot, state::FileSource& files,
                             const TransplantOptions& options, bool keep_ids) {
  raise_file_limit();
  const int highest =
      snapshot.descriptors.descriptors.empty() ? 0 : snapshot.descriptors.descriptors.back().fd;
  InheritedBuilder builder(std::max(highest + 1, 16));
  files.enter_sandbox();
  Opened opened = open_everything(snapshot, files, builder);
  const std::string program = files.content_path(snapshot.program);
  fault_point("restore-exec");

  Transplanted result;
  if (needs_own_ipc(snapshot, files.original_runs()))
    files.note(state::enter_ipc_namespace(snapshot.sysv));
  state::enter_clocks(snapshot.clocks, options.clock, result.notes);
  Child child(start_program(snapshot, program, options, opened.all, keep_ids));
  const Tid pid = child.pid();
  result.pid = pid;
  const proc::ProcessDir process(pid);
  const tracee::Memory memory(pid);
  const auto fresh = process.mappings();

  RemoteThread main(pid, pid, {pid, pid}, memory, tracee::find_syscall_instruction(fresh, memory));
  // The new registers come at the very end; the fresh program's are of no interest.
  const Scratch scratch = main.make_scratch(
      kScratchDataBytes,
      state::find_free_place(fresh, snapshot.space, kPageSize + kScratchDataBytes));
  main.use_instruction(scratch.code + tracee::loop_syscall_offset());
  const auto children = state::make_ended_children(main, scratch, memory, kTraceOptions,
                                                   snapshot.children, keep_ids, result.notes);
  fault_point("restore-scratch");
  std::optional<ProxyInstaller> installer;
  if (needs_vdso_proxy(snapshot)) installer.emplace(snapshot, process.mappings());
  const state::AddressSpace& space = installer ? installer->space() : snapshot.space;
  state::clear_and_move_kernel_pages(
      main, scratch, fresh, space, installer ? std::optional(installer->parking()) : std::nullopt);
  state::restore_feature_permissions(main, snapshot.process);
  fault_point("restore-clear");
  const auto& extents = snapshot.reader.extents();
  state::rebuild(main, scratch, space, opened.mapped, extents, result.notes);
  fault_point("restore-map");
  state::fill(main, scratch, space, extents, opened.image);
  state::expire_name_caches(memory, space);
  if (installer) installer->install(main, memory, result.notes);
  widen_state_saves(snapshot, memory);
  refit_signal_frames(snapshot, memory);
  state::seal(main, scratch, memory, space, extents, result.notes);
  fault_point("restore-fill");

  files.seal();

  const auto& directory = opened.table.working_directory;
  const auto process_notes = state::restore_process(
      main, scratch, memory, snapshot.process, directory ? opened.descriptions.at(*directory) : -1);
  result.notes.insert(result.notes.end(), process_notes.begin(), process_notes.end());
  state::restore_actions(main, scratch, memory, snapshot.signals);
  result.tids = state::create_threads(main, scratch, memory, snapshot.threads,
                                      {keep_ids, options.numbered_newest_first});
  result.tids.insert(result.tids.begin(), pid);
  fault_point("restore-threads");
  tracee::RemoteCalls calls(main, memory, scratch.data, scratch.data_bytes,
                            opened.all.empty() ? highest + 1 : opened.all.back() + 1);
  const auto id_change = change_of_ids(snapshot, options, result);
  state::make_descriptions(
      calls, snapshot.descriptors, snapshot.process.directory, id_change, files.original_runs(),
      files.options().peers == state::PeersMode::silent ? &opened.table.peers : nullptr,
      opened.descriptions, result.notes);
  result.peers = std::move(opened.table.peers);
  fault_point("restore-descriptions");
  state::place_descriptors(main, scratch, snapshot.descriptors, opened.table, opened.descriptions);
  state::link_descriptors(calls, snapshot.descriptors, id_change, files.original_runs(),
                          result.notes);
  if (snapshot.process.own_session && snapshot.process.own_terminal >= 0)
    state::take_terminal(calls, snapshot.descriptors, snapshot.process.own_terminal, result.notes);
  state::restore_aio(calls, memory, snapshot.aio, result.notes);
  fault_point("restore-files");

  const FreshIds ids{ids_of_process(snapshot, options, pid), result.tids, children};
  result.ids_kept = ids_kept(snapshot, ids);
  auto renewed = renew_ids(snapshot, files, main, memory, ids);
  result.notes.insert(result.notes.end(), renewed.notes.begin(), renewed.notes.end());
  result.locks = std::move(renewed.locks);
  fault_point("restore-ids");
  change_environment(snapshot, files, main, memory);

  state::create_timers(main, scratch, memory, snapshot.timers,
                       ids_then_and_now(snapshot, result.tids), result.notes);
  for (std::size_t i = 0; i < snapshot.threads.size(); ++i) {
    const ThreadState& saved = snapshot.threads[i];
    const Tid tid = result.tids[i];
    const auto set_up = [&](RemoteThread& thread) {
      state::equip(thread, scratch, memory, saved, tid, result.notes);
      state::restore_ring_numbers(thread, scratch, memory, saved.tid, snapshot.descriptors,
                                  snapshot.ring_numbers, result.notes);
      if (options.queue_held_signals && saved.held_signal != 0 && saved.stop_info)
        state::queue_signals(thread, scratch, memory, {*saved.stop_info}, pid, tid);
      queue_again(snapshot, thread, scratch, memory, saved.queued, pid, tid);
    };
    if (i == 0) {
      set_up(main);
      continue;
    }
    RemoteThread thread(pid, tid, {pid, tid}, memory, scratch.code + tracee::loop_syscall_offset());
    set_up(thread);
    state::restore_attributes(tid, saved.attributes, result.notes);
    if (!state::becomes_itself_last(saved))
      state::become_itself(thread, scratch, memory, saved, result.notes);
    state::park(thread, scratch, saved);
  }
  queue_again(snapshot, main, scratch, memory, snapshot.signals.queued, pid, 0);
  state::restore_process_attributes(main, scratch, pid, snapshot.process.attributes, result.notes);
  state::restore_attributes(pid, snapshot.threads.front().attributes, result.notes);
  // Late, because they could stop ourselves; not later, because another user's may not be ours to
  // set.
  const auto limits = state::restore_limits(pid, snapshot.process);
  result.notes.insert(result.notes.end(), limits.begin(), limits.end());
  if (!state::becomes_itself_last(snapshot.threads.front()))
    state::become_itself(main, scratch, memory, snapshot.threads.front(), result.notes);
  // A change of ids has undone both; until finish() we shall be able to look, and it to die with
  // us.
  main.checked_call("prctl(PR_SET_DUMPABLE)", SYS_prctl, {PR_SET_DUMPABLE, 1});
  main.checked_call("prctl(PR_SET_PDEATHSIG)", SYS_prctl, {PR_SET_PDEATHSIG, SIGKILL});
  main.checked_call(
      "munmap (scratch data)", SYS_munmap,
      {(scratch.data + kParkedDataBytes).value, scratch.data_bytes - kParkedDataBytes});
  state::park(main, scratch, snapshot.threads.front());
  fault_point("restore-park");
  static_cast<void>(child.release());
  return result;
}

// Which huge pages can be had shows when all is mapped.
Transplanted transplant_with_pages(const Snapshot& snapshot, state::FileSource& files,
                                   const TransplantOptions& options, bool keep_ids) {
  for (;;) {
    try {
      return transplant_once(snapshot, files, options, keep_ids);
    } catch (const state::NoHugePages& lack) {
      if (!files.use_ordinary_pages(lack.file())) throw;
    }
  }
}

bool may_choose_ids() {
  constexpr std::uint64_t kSysAdmin = 1ULL << 21U;
  constexpr std::uint64_t kCheckpointRestore = 1ULL << 40U;
  const auto effective = proc::ProcessDir(::getpid()).status().effective_capabilities;
  return (effective & (kSysAdmin | kCheckpointRestore)) != 0;
}

}  // namespace

void check_ids(IdMode ids) {
  if (ids == IdMode::saved && !may_choose_ids())
    fail(ErrorKind::refused,
         "the saved ids need the capability CAP_CHECKPOINT_RESTORE (or root): use -ids auto");
}

Transplanted transplant(const Snapshot& snapshot, state::FileSource& files,
                        const TransplantOptions& options) {
  check_ids(options.ids);
  state::check_clocks(options.clock);
  if (options.ids == IdMode::saved || (options.ids == IdMode::automatic && may_choose_ids())) {
    try {
      return transplant_with_pages(snapshot, files, options, true);
    } catch (const state::IdRefused& error) {
      if (options.ids == IdMode::saved && error.error_number() == EEXIST)
        throw Error(ErrorKind::refused,
                    fmt::format("{}: another process has it: use -ids auto", error.what()), EEXIST);
      if (options.ids == IdMode::saved) throw;
    }
  }
  return transplant_with_pages(snapshot, files, options, false);
}

void release(const Transplanted& transplanted) {
  for (const Tid tid : transplanted.tids) {
    // In the midst of it, if there is more than one.
    if (tid == transplanted.tids.back()) fault_point("restore-release");
    try {
      tracee::detach(tid);
    } catch (const Error& error) {
      // A thread that was let go first may have ended the whole process meanwhile.
      if (error.kind() != ErrorKind::process_gone) throw;
    }
  }
}

}  // namespace ckpt::snapshot
