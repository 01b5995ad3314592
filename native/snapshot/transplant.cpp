#include "snapshot/transplant.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <initializer_list>
#include <optional>

#include "base/error.hpp"
#include "base/fault.hpp"
#include "snapshot/environment.hpp"
#include "snapshot/ids.hpp"
#include "snapshot/kernel_pages.hpp"
#include "snapshot/machine.hpp"
#include "snapshot/new_process.hpp"
#include "state/memory/name_cache.hpp"
#include "state/rings/aio.hpp"
#include "tracee/remote.hpp"

namespace ckpt::snapshot {

namespace {

using state::ThreadState;
using tracee::RemoteThread;
using tracee::Scratch;

constexpr unsigned long kTraceOptions =
    PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE;

constexpr std::uint64_t kScratchDataBytes = 1U << 20U;

// For a while each file is open twice; the program gets its own limit in the end. The hard one only
// root may raise, to fs.nr_open at most, which is this unless it was changed.
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
  void let_go() { owned_.clear(); }

 private:
  int next_;
  std::vector<UniqueFd> owned_;
};

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
  std::optional<state::WorkingDirectory> directory;
  const auto& process = snapshot.saved.process;
  if (process.removed_directory || process.directory_process)
    directory = {process.directory, process.removed_directory, process.directory_process};
  opened.table = state::open_descriptions(snapshot.descriptors(), directory, files);
  for (auto& fd : opened.table.fds)
    opened.descriptions.push_back(fd ? builder.add(std::move(fd)) : -1);
  std::map<std::string, int> by_file;
  for (std::size_t i = 0; i < snapshot.saved.space.regions.size(); ++i) {
    const auto& region = snapshot.saved.space.regions[i];
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

// Queues signals as they were, for the process if `tid` is 0. Runs in any thread.
void queue_again(const Snapshot& snapshot, tracee::Inferior& inferior,
                 const std::vector<siginfo_t>& signals, Tid tid) {
  for (const siginfo_t& info : signals)
    if (!state::expire_again(inferior, snapshot.saved.timers, info,
                             [&] { return tracee::peek_signals(inferior.tid(), tid == 0); }))
      state::queue_signals(inferior, {info}, tid);
}

std::map<Tid, Tid> ids_then_and_now(const Snapshot& snapshot, const std::vector<Tid>& tids) {
  std::map<Tid, Tid> ids;
  for (std::size_t i = 0; i < snapshot.saved.threads.size() && i < tids.size(); ++i)
    ids[snapshot.saved.threads[i].tid] = tids[i];
  return ids;
}

// What getpid() and its like would say in the new process.
state::ProcessIds ids_of_process(const Snapshot& snapshot, const TransplantOptions& options,
                                 Tid pid) {
  const bool leads_session = snapshot.saved.process.own_session;
  const bool leads_group = leads_session || options.own_process_group;
  return {pid, ::getpid(), leads_group ? pid : ::getpgrp(), leads_session ? pid : ::getsid(0)};
}

state::IdChange change_of_ids(const Snapshot& snapshot, const TransplantOptions& options,
                              const Transplanted& result) {
  state::IdChange change;
  for (std::size_t i = 0; i < snapshot.saved.threads.size(); ++i)
    change.threads[snapshot.saved.threads[i].lwp] = result.tids[i];
  change.group_before = snapshot.saved.process.group;
  change.group_now = ids_of_process(snapshot, options, result.pid).group;
  return change;
}

// A number that the program remembers must not lead to another program's object.
bool needs_own_ipc(const Snapshot& snapshot, bool original_runs) {
  const auto& regions = snapshot.saved.space.regions;
  const auto is_in_the_way = [&](const state::Region& region) {
    return region.segment && (original_runs || state::is_found_by_key(*region.segment) ||
                              state::is_taken(*region.segment));
  };
  return std::any_of(regions.begin(), regions.end(), is_in_the_way) ||
         (original_runs && !snapshot.shared.sysv.empty()) ||
         state::is_missing(snapshot.shared.sysv);
}

int highest_descriptor(const Snapshot& snapshot) {
  const auto& descriptors = snapshot.saved.descriptors;
  return descriptors.empty() ? 0 : descriptors.back().fd;
}

// One attempt. What a step makes and a later one needs is a member.
class Transplant {
 public:
  Transplant(const Snapshot& snapshot, state::FileSource& files, const TransplantOptions& options,
             bool keep_ids)
      : snapshot_(snapshot),
        files_(files),
        options_(options),
        keep_ids_(keep_ids),
        builder_(std::max(highest_descriptor(snapshot) + 1, 16)) {}

  Transplanted run();

  // --- in the restoring process

  void raise_file_limit() { snapshot::raise_file_limit(); }
  void enter_sandbox() { files_.enter_sandbox(); }
  void open_files() {
    opened_ = open_everything(snapshot_, files_, builder_);
    program_ = files_.content_path(snapshot_.saved.program);
  }
  void enter_ipc_namespace() {
    if (!needs_own_ipc(snapshot_, files_.original_runs())) return;
    const auto [entered, note] = state::enter_ipc_namespace(snapshot_.shared.sysv);
    own_ipc_ = entered;
    files_.note(note);
  }
  void enter_clocks() {
    state::enter_clocks(snapshot_.saved.clocks, options_.clock, result_.notes);
  }

  // --- a process

  void start_process() {
    child_.emplace(
        start_program(snapshot_, program_, options_, opened_.all, keep_ids_, kTraceOptions));
    result_.pid = child_->pid();
    const int first_free_fd =
        (opened_.all.empty() ? highest_descriptor(snapshot_) : opened_.all.back()) + 1;
    inferior_.emplace(result_.pid, first_free_fd, result_.notes);
    inferior_->own_ipc = own_ipc_;
    fresh_ = inferior_->process.mappings();
  }
  void make_scratch() {
    const Tid pid = result_.pid;
    main_.emplace(pid, pid, RemoteThread::Ids{pid, pid}, inferior_->memory,
                  tracee::find_syscall_instruction(fresh_, inferior_->memory));
    scratch_ = main_->make_scratch(
        kScratchDataBytes,
        state::find_free_place(fresh_, snapshot_.saved.space, kPageSize + kScratchDataBytes));
    main_->use_instruction(scratch_.code + arch::loop_syscall_offset());
    turn_.emplace(*inferior_, *main_, scratch_);
  }
  void make_children() {
    children_ =
        state::make_ended_children(*inferior_, kTraceOptions, snapshot_.saved.children, keep_ids_);
  }

  // --- its memory

  void plan_vdso() {
    if (needs_vdso_proxy(snapshot_)) installer_.emplace(snapshot_, inferior_->process.mappings());
  }
  void clear_memory() {
    state::clear_and_move_kernel_pages(
        *inferior_, fresh_, space(),
        installer_ ? std::optional(installer_->parking()) : std::nullopt);
  }
  void ask_for_features() {
    state::restore_feature_permissions(*inferior_, snapshot_.saved.process);
  }
  void map_memory() {
    state::map_regions(*inferior_, space(), opened_.mapped, extents());
    state::restore_names(*inferior_, space());
    state::restore_memory_policies(*inferior_, space());
  }
  void fill_memory() { state::fill_memory(*inferior_, space(), extents(), opened_.image); }
  void expire_name_caches() { state::expire_name_caches(inferior_->memory, space()); }
  void install_vdso() {
    if (installer_) installer_->install(*inferior_);
  }
  void refit_extended_state() {
    widen_state_saves(snapshot_, inferior_->memory);
    refit_signal_frames(snapshot_, inferior_->memory);
  }
  void protect_memory() { state::apply_protections(*inferior_, space(), extents()); }
  void restore_file_attributes() { files_.restore_attributes(); }

  // --- what the kernel knows of the process

  void set_process() {
    const auto& directory = opened_.table.working_directory;
    state::restore_process(*inferior_, snapshot_.saved.process,
                           directory ? opened_.descriptions.at(*directory) : -1);
  }
  void set_signal_actions() { state::restore_actions(*inferior_, snapshot_.saved.signals); }
  void create_threads() {
    result_.tids = state::create_threads(*inferior_, snapshot_.saved.threads,
                                         {keep_ids_, options_.numbered_newest_first});
    result_.tids.insert(result_.tids.begin(), result_.pid);
  }
  void make_descriptions() {
    state::make_descriptions(
        *inferior_, snapshot_.descriptors(), snapshot_.saved.process.directory, id_change(),
        files_.original_runs(),
        files_.options().peers == state::PeersMode::silent ? &opened_.table.peers : nullptr,
        opened_.descriptions);
    result_.peers = std::move(opened_.table.peers);
  }
  void place_descriptors() {
    state::place_descriptors(*inferior_, snapshot_.descriptors(), opened_.table,
                             opened_.descriptions);
  }
  void let_files_go() {
    builder_.let_go();
    files_.let_go();
  }
  void link_descriptors() {
    state::link_descriptors(*inferior_, snapshot_.descriptors(), opened_.descriptions, id_change(),
                            files_.original_runs());
  }
  void take_terminal() {
    if (snapshot_.saved.process.own_session && snapshot_.saved.process.own_terminal >= 0)
      state::take_terminal(*inferior_, snapshot_.descriptors(),
                           snapshot_.saved.process.own_terminal);
  }
  void restore_aio() { state::restore_aio(*inferior_, snapshot_.saved.aio); }

  // --- what the program remembers

  void renew_ids() {
    const FreshIds ids{ids_of_process(snapshot_, options_, result_.pid), result_.tids, children_};
    result_.ids_kept = ids_kept(snapshot_, ids);
    result_.locks = snapshot::renew_ids(snapshot_, files_, *inferior_, ids);
  }
  void change_environment() { snapshot::change_environment(snapshot_, files_, *inferior_); }

  // --- its threads

  void create_timers() {
    state::create_timers(*inferior_, snapshot_.saved.timers,
                         ids_then_and_now(snapshot_, result_.tids));
  }
  void set_up_threads() {
    for (std::size_t i = 0; i < snapshot_.saved.threads.size(); ++i) {
      const ThreadState& saved = snapshot_.saved.threads[i];
      const Tid tid = result_.tids[i];
      if (i == 0) {
        set_up(saved);
        continue;
      }
      RemoteThread thread(result_.pid, tid, {result_.pid, tid}, inferior_->memory,
                          scratch_.code + arch::loop_syscall_offset());
      const tracee::Turn turn(*inferior_, thread);
      set_up(saved);
      state::restore_attributes(tid, saved.attributes, result_.notes);
      if (!state::restores_identity_last(saved)) state::restore_identity(*inferior_, saved);
      state::park(*inferior_, saved);
    }
  }
  void queue_signals() { queue_again(snapshot_, *inferior_, snapshot_.saved.signals.queued, 0); }
  void set_attributes() {
    state::restore_process_attributes(*inferior_, snapshot_.saved.process.attributes);
    state::restore_attributes(result_.pid, snapshot_.saved.threads.front().attributes,
                              result_.notes);
  }
  void set_limits() { state::restore_limits(*inferior_, snapshot_.saved.process); }
  void change_user() {
    const ThreadState& main = snapshot_.saved.threads.front();
    if (!state::restores_identity_last(main)) state::restore_identity(*inferior_, main);
  }
  void stay_ours() {
    inferior_->call("prctl(PR_SET_DUMPABLE)", SYS_prctl, {PR_SET_DUMPABLE, 1});
    inferior_->call("prctl(PR_SET_PDEATHSIG)", SYS_prctl, {PR_SET_PDEATHSIG, SIGKILL});
  }
  void shrink_scratch() {
    inferior_->call("munmap (scratch data)", SYS_munmap,
                    {scratch_.data + kParkedDataBytes, scratch_.data_bytes - kParkedDataBytes});
  }
  void park() { state::park(*inferior_, snapshot_.saved.threads.front()); }

 private:
  [[nodiscard]] const state::AddressSpace& space() const {
    return installer_ ? installer_->space() : snapshot_.saved.space;
  }
  [[nodiscard]] const std::vector<image::Extent>& extents() const {
    return snapshot_.reader.extents();
  }
  [[nodiscard]] state::IdChange id_change() const {
    auto change = change_of_ids(snapshot_, options_, result_);
    for (std::size_t i = 0; i < children_.size(); ++i)
      change.children[snapshot_.saved.children[i].pid] = children_[i];
    return change;
  }
  void set_up(const ThreadState& saved) {
    const Tid tid = inferior_->tid();
    state::set_up_thread(*inferior_, saved);
    state::restore_ring_numbers(*inferior_, saved.tid, snapshot_.descriptors(),
                                snapshot_.saved.ring_numbers);
    if (options_.queue_held_signals && saved.held_signal != 0 && saved.stop_info)
      state::queue_signals(*inferior_, {*saved.stop_info}, tid);
    queue_again(snapshot_, *inferior_, saved.queued, tid);
  }

  const Snapshot& snapshot_;
  state::FileSource& files_;
  const TransplantOptions& options_;
  bool keep_ids_;
  bool own_ipc_ = false;

  InheritedBuilder builder_;
  Opened opened_;
  std::string program_;
  Transplanted result_;
  // In this order, so that a thread is let go before its process is killed.
  std::optional<tracee::Child> child_;
  std::optional<state::RestoreContext> inferior_;
  std::vector<proc::Mapping> fresh_;  // of the program that was just executed
  std::optional<RemoteThread> main_;
  // The new registers come at the very end; the fresh program's are of no interest.
  Scratch scratch_;
  std::optional<tracee::Turn> turn_;  // of the main thread
  std::vector<Tid> children_;
  std::optional<ProxyInstaller> installer_;
};

// A step, the fault point behind it if there is one, and the steps that must have been taken before
// it.
struct Step {
  const char* name;
  void (Transplant::*take)();
  const char* fault;
  std::array<const char*, 3> after;
};

// The order of a restore. Where a step follows another for no more reason than that something had
// to come first, `after` does not name it.
constexpr std::array<Step, 38> kSteps = {{
    {"raise-file-limit", &Transplant::raise_file_limit, nullptr, {}},
    {"enter-sandbox", &Transplant::enter_sandbox, nullptr, {}},
    // By their paths, which lead into the sandbox then.
    {"open-files", &Transplant::open_files, "restore-exec", {"raise-file-limit", "enter-sandbox"}},
    {"enter-ipc-namespace", &Transplant::enter_ipc_namespace, nullptr, {}},
    {"enter-clocks", &Transplant::enter_clocks, nullptr, {}},
    // It inherits the files, and the namespaces, which only children are in.
    {"start-process",
     &Transplant::start_process,
     nullptr,
     {"open-files", "enter-ipc-namespace", "enter-clocks"}},
    {"make-scratch", &Transplant::make_scratch, nullptr, {"start-process"}},
    // While there is hardly any memory of which they would get copies.
    {"make-children", &Transplant::make_children, "restore-scratch", {"make-scratch"}},
    {"plan-vdso", &Transplant::plan_vdso, nullptr, {"start-process"}},
    {"clear-memory", &Transplant::clear_memory, nullptr, {"make-children", "plan-vdso"}},
    {"ask-for-features", &Transplant::ask_for_features, "restore-clear", {"make-scratch"}},
    {"map-memory", &Transplant::map_memory, "restore-map", {"clear-memory"}},
    {"fill-memory", &Transplant::fill_memory, nullptr, {"map-memory"}},
    {"expire-name-caches", &Transplant::expire_name_caches, nullptr, {"fill-memory"}},
    {"install-vdso", &Transplant::install_vdso, nullptr, {"fill-memory"}},
    {"refit-extended-state", &Transplant::refit_extended_state, nullptr, {"fill-memory"}},
    // Sealed memory (mseal) cannot be changed any more.
    {"protect-memory",
     &Transplant::protect_memory,
     "restore-fill",
     {"install-vdso", "refit-extended-state", "expire-name-caches"}},
    // Nothing could be mapped writable from a sealed memfd.
    {"restore-file-attributes", &Transplant::restore_file_attributes, nullptr, {"map-memory"}},
    {"set-process", &Transplant::set_process, nullptr, {"make-scratch"}},
    // Children would inherit them: not die, or vanish when they do.
    {"set-signal-actions", &Transplant::set_signal_actions, nullptr, {"make-children"}},
    // What one thread asks for before there is another, all have.
    {"create-threads",
     &Transplant::create_threads,
     "restore-threads",
     {"ask-for-features", "set-process", "protect-memory"}},
    // Their owners are threads, too.
    {"make-descriptions",
     &Transplant::make_descriptions,
     "restore-descriptions",
     {"create-threads", "restore-file-attributes"}},
    {"place-descriptors", &Transplant::place_descriptors, nullptr, {"make-descriptions"}},
    // A program that watches its files (inotify) would be told of our closing them.
    {"let-files-go",
     &Transplant::let_files_go,
     nullptr,
     {"place-descriptors", "restore-file-attributes"}},
    {"link-descriptors", &Transplant::link_descriptors, nullptr, {"let-files-go"}},
    {"take-terminal", &Transplant::take_terminal, nullptr, {"place-descriptors"}},
    {"restore-aio", &Transplant::restore_aio, "restore-files", {"map-memory", "link-descriptors"}},
    {"renew-ids", &Transplant::renew_ids, "restore-ids", {"create-threads", "protect-memory"}},
    {"change-environment", &Transplant::change_environment, nullptr, {"protect-memory"}},
    // Their signals are for threads.
    {"create-timers",
     &Transplant::create_timers,
     nullptr,
     {"create-threads", "set-signal-actions"}},
    // A signal of an expired timer takes its place in the queue by the timer's expiring again.
    {"set-up-threads",
     &Transplant::set_up_threads,
     nullptr,
     {"create-timers", "place-descriptors"}},
    {"queue-signals", &Transplant::queue_signals, nullptr, {"create-timers", "set-signal-actions"}},
    {"set-attributes", &Transplant::set_attributes, nullptr, {"create-threads"}},
    // Late, because they could stop ourselves; not later, because another user's may not be ours to
    // set.
    {"set-limits", &Transplant::set_limits, nullptr, {"set-up-threads", "restore-aio"}},
    {"change-user", &Transplant::change_user, nullptr, {"set-limits", "set-attributes"}},
    // A change of ids has undone both; until finish() we shall be able to look, and it to die with
    // us.
    {"stay-ours", &Transplant::stay_ours, nullptr, {"change-user"}},
    {"shrink-scratch", &Transplant::shrink_scratch, nullptr, {"change-user"}},
    {"park", &Transplant::park, "restore-park", {"stay-ours", "shrink-scratch", "queue-signals"}},
}};

constexpr bool is_taken_before(std::string_view wanted, std::size_t index) {
  for (std::size_t i = 0; i < index; ++i)
    if (std::string_view(kSteps.at(i).name) == wanted) return true;
  return false;
}

constexpr bool are_in_order() {
  for (std::size_t i = 0; i < kSteps.size(); ++i)
    for (const char* before : kSteps.at(i).after)
      if (before != nullptr && !is_taken_before(before, i)) return false;
  return true;
}
static_assert(are_in_order(), "a step of a restore comes before one that it needs");

Transplanted Transplant::run() {
  for (const Step& step : kSteps) {
    (this->*step.take)();
    if (step.fault != nullptr) fault_point(step.fault);
  }
  static_cast<void>(child_->release());
  return std::move(result_);
}

}  // namespace

Transplanted transplant_once(const Snapshot& snapshot, state::FileSource& files,
                             const TransplantOptions& options, bool keep_ids) {
  return Transplant(snapshot, files, options, keep_ids).run();
}

}  // namespace ckpt::snapshot
