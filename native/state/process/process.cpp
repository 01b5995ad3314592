#include "state/process/process.hpp"

#include <elf.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/keyctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include "base/error.hpp"
#include "base/io.hpp"
#include "state/files/sandbox.hpp"
#include "state/surroundings/namespaces.hpp"
#include "state/surroundings/other_process.hpp"

namespace ckpt::state {

namespace {

constexpr std::string_view kDeleted = " (deleted)";

bool shares_memory(Tid a, Tid b) { return ::syscall(SYS_kcmp, a, b, KCMP_VM, 0UL, 0UL) == 0; }

// The kernel does not give the id of a session that has members to a new process. 0: a leader that
// is not to be seen from here.
bool is_left_alone(const proc::Stat& stat) {
  return stat.session > 0 && ::kill(stat.session, 0) != 0 && errno == ESRCH;
}

std::optional<RemovedEntry> removed_directory_of(const proc::ProcessDir& process) {
  struct stat status {};
  if (!process.link("cwd").value_or("").ends_with(kDeleted) ||
      ::stat(process.path("cwd").c_str(), &status) != 0 || status.st_nlink != 0)
    return std::nullopt;
  return describe_removed_entry(status);
}

// In /proc a name leads to whichever process has the number.
void note_directory(const proc::ProcessDir& process, ProcessState& state) {
  constexpr std::string_view kProc = "/proc/";
  state.directory = process.link("cwd").value_or("/");
  state.removed_directory = removed_directory_of(process);
  struct stat status {};
  if (::stat(process.path("cwd").c_str(), &status) != 0) return;
  const auto owner = process_of_file(state.directory, status);
  if (owner && owner->pid == process.pid() && !state.directory.ends_with(kDeleted)) {
    const auto rest = state.directory.find('/', kProc.size());
    state.directory =
        "/proc/self" + (rest == std::string::npos ? "" : state.directory.substr(rest));
  } else {
    state.directory_process = owner;
  }
}

}  // namespace

// PTRACE_O_SUSPEND_SECCOMP wants CAP_SYS_ADMIN, as namespaces do.
bool may_suspend_seccomp() { return may_make_namespaces(); }

void refuse_impossible(const proc::ProcessDir& process) {
  const Tid pid = process.pid();
  const proc::Status status = process.status();
  if (status.state == 'Z' || status.state == 'X')
    fail(ErrorKind::refused, "process {}: it has ended; nothing is left to save", pid);
  const std::string auxv = process.read("auxv");
  if (auxv.empty()) fail(ErrorKind::refused, "process {}: it has no memory of its own", pid);

  const UniqueFd exe = process.open("exe", O_RDONLY);
  std::array<unsigned char, EI_NIDENT> ident{};
  if (::pread(exe.get(), ident.data(), ident.size(), 0) != EI_NIDENT ||
      std::memcmp(ident.data(), ELFMAG, SELFMAG) != 0 || ident[EI_CLASS] != ELFCLASS64)
    fail(ErrorKind::refused, "process {}: a 32-bit program; only 64-bit programs can be saved",
         pid);
  // AT_SECURE also tells of file capabilities, which the ids do not show.
  for (std::size_t at = 0; at + 16 <= auxv.size(); at += 16) {
    std::array<std::uint64_t, 2> pair{};
    std::memcpy(pair.data(), auxv.data() + at, sizeof pair);
    if (pair[0] == AT_SECURE && pair[1] != 0)
      fail(ErrorKind::refused,
           "process {}: a set-user-id, set-group-id or privileged-file program; it cannot be "
           "started again with these rights",
           pid);
  }
  const Tid parent = process.stat().parent;
  if (parent > 0 && shares_memory(process.through(), parent))
    fail(ErrorKind::refused,
         "process {}: it shares its memory with its parent {} (between vfork and exec): continue "
         "until it has called exec",
         pid, parent);
  for (const Tid child : process.children())
    if (shares_memory(process.through(), child))
      fail(ErrorKind::refused,
           "process {}: it shares its memory with its child {} (vfork or CLONE_VM): continue "
           "until the child has called exec or ended",
           pid, child);
  // A shadow stack holds return addresses that only the processor may write.
  const std::string text = process.read("status");
  const auto features = text.find("x86_Thread_features:");
  if (features != std::string::npos &&
      text.substr(features, text.find('\n', features) - features).find("shstk") !=
          std::string::npos)
    fail(ErrorKind::refused,
         "process {}: it uses a shadow stack, which cannot be restored: run it with "
         "GLIBC_TUNABLES=glibc.cpu.x86_shstk=off",
         pid);
  if (status.seccomp == 1)
    fail(ErrorKind::refused, "process {}: it is in strict seccomp mode", pid);
  if (status.seccomp == 2 && !may_suspend_seccomp())
    fail(ErrorKind::refused,
         "process {}: it runs under a seccomp filter, which only a privileged user may suspend "
         "for a save",
         pid);
}

ProcessState capture_process(CaptureContext& context) {
  const auto& process = context.process;
  ProcessState state;
  const proc::Status status = process.status(process.pid());
  const proc::Stat stat = process.stat();
  state.pid = status.ns_pids.empty() ? process.pid() : status.ns_pids.back();
  state.parent = stat.parent;
  state.group = stat.process_group;
  state.start_ticks = stat.start_time_ticks;
  state.session = stat.session;
  state.own_session =
      stat.tty_device == 0 && (stat.session == process.pid() || is_left_alone(stat));
  state.remembered = {state.pid, state.parent, state.group, state.session};
  state.uid = status.uids[0];
  state.gid = status.gids[0];
  state.umask = status.umask;
  note_directory(process, state);
  state.root = process.link("root").value_or("/");
  constexpr std::uint64_t kAskOnly = 0xffffffff;  // personality(2)
  state.personality = context.call("personality", SYS_personality, {kAskOnly});
  // Fails where the kernel knows no such features: then nothing was permitted.
  const auto features = context.reserve<std::uint64_t>();
  if (context.attempt(arch::kSysFeatures, {arch::kGetFeaturePermissions, features}) == 0)
    state.extended_features = features.read();
  state.attributes = ask_process_attributes(context);
  // By the process itself: those of another user's may not be ours to look at.
  for (int resource = 0; resource < RLIM_NLIMITS; ++resource) {
    const auto limit = context.reserve<rlimit>();
    context.call("prlimit", SYS_prlimit64, {0, resource, 0, limit});
    state.limits.emplace_back(limit.read().rlim_cur, limit.read().rlim_max);
  }
  return state;
}

namespace {

// Segment descriptors and address tags: they are hardly ever used, and shown nowhere else.
void report_segments(CaptureContext& context) {
  constexpr std::uint64_t kReadTable = 0;
  const auto table = context.reserve(kPageSize);
  if (context.attempt(arch::kSysModifyLdt, {kReadTable, table, table.size_bytes()}) > 0)
    context.report.add(Severity::lost, "process", "segment descriptors",
                       "the local descriptor table (modify_ldt) does not come back: using its "
                       "selectors ends the program");
  const auto mask = context.reserve<std::uint64_t>();
  if (context.attempt(arch::kSysFeatures, {arch::kGetUntagMask, mask}) == 0 && mask.read() != ~0ULL)
    context.report.add(Severity::lost, "process", "address tags",
                       "linear address masking does not come back: tagged pointers fault");
}

// The number of a keyring of the program, or a negative value; `keyring`: KEY_SPEC_*.
std::int64_t ask_keyring(CaptureContext& context, int keyring) {
  constexpr int kDoNotMake = 0;
  return context.attempt(SYS_keyctl, {KEYCTL_GET_KEYRING_ID, keyring, kDoNotMake});
}

void report_keyrings(CaptureContext& context) {
  const auto report = [&](std::string_view which) {
    context.report.add(Severity::lost, "process", "keys",
                       fmt::format("the {} does not come back", which));
  };
  // Other threads may have such keyrings, too, which only they could tell.
  if (ask_keyring(context, KEY_SPEC_THREAD_KEYRING) > 0) report("main thread's keyring");
  if (ask_keyring(context, KEY_SPEC_PROCESS_KEYRING) > 0) report("process's keyring");
  // One that it has joined by name: those of users and of logins, which are called "_uid_ses.N" and
  // "_ses", the restoring user has, too.
  const std::int64_t session = ask_keyring(context, KEY_SPEC_SESSION_KEYRING);
  std::array<char, 256> description{};  // "keyring;UID;GID;PERMISSIONS;NAME"
  if (session <= 0 ||
      ::syscall(SYS_keyctl, KEYCTL_DESCRIBE, session, description.data(), description.size()) < 0)
    return;
  const std::string_view text(description.data());
  const std::string_view name = text.substr(text.rfind(';') + 1);
  if (!name.empty() && !name.starts_with('_')) report(fmt::format("session's keyring ({})", name));
}

// Whether we have no more rights than a thread like this one, as far as everybody can see them.
bool is_like_us(const proc::Status& status) {
  const proc::ProcessDir own(::getpid());
  const proc::Status ours = own.status();
  return status.uids == ours.uids && status.gids == ours.gids &&
         (ours.permitted_capabilities & ~status.effective_capabilities) == 0 &&
         status.ns_pids.size() == ours.ns_pids.size();
}

// The kernel shows Landlock nowhere. But what it restricts may not look at processes outside, as
// everybody else may who is as we are: the program is asked to look at us.
void report_landlock(CaptureContext& context) {
  const proc::ProcessDir own(::getpid());
  for (const char* name : {"ns/user", "ns/pid"})
    if (context.process.link(name) != own.link(name)) return;
  if (!is_like_us(context.process.status()) || ::prctl(PR_GET_DUMPABLE) != 1) return;
  if (context.attempt(SYS_kcmp, {context.pid(), ::getpid(), KCMP_VM, 0, 0}) != -EPERM) return;
  context.report.add(Severity::changed, "process", "Landlock",
                     "it has restricted itself (landlock_restrict_self): it comes back without "
                     "these restrictions");
}

void report_session(CaptureContext& context) {
  const proc::Stat stat = context.process.stat();
  if (stat.tty_device == 0 && is_left_alone(stat))
    context.report.add(Severity::changed, "process", "session",
                       fmt::format("its session {} has no leader any more: it comes back as the "
                                   "leader of another",
                                   stat.session));
}

// What is around the process and not a part of it. The restore's own takes its place.
void report_surroundings(CaptureContext& context) {
  const auto& process = context.process;
  if (process.link("root").value_or("/") != "/")
    context.report.add(Severity::changed, "process", "root directory",
                       "the program runs in a chroot: it comes back without it");
  // Of time namespaces the clocks are kept; of the id namespace, the ids. A sandbox is made again
  // where it is needed, with its files.
  const bool ours = is_sandboxed(process);
  constexpr auto kNamespaces = std::to_array<std::pair<const char*, const char*>>({
      {"mnt", "mounts"},
      {"net", "network"},
      {"pid", "process ids"},
      {"user", "users"},
      {"uts", "host name"},
      {"ipc", "System V objects and message queues"},
      {"cgroup", "control groups"},
  });
  const proc::ProcessDir own(::getpid());
  std::string names;
  for (const auto& [name, what] : kNamespaces) {
    if (ours && (std::string_view(name) == "mnt" || std::string_view(name) == "user")) continue;
    const std::string file = fmt::format("ns/{}", name);
    const auto theirs = process.link(file);
    if (theirs && theirs != own.link(file))
      names += (names.empty() ? "" : ", ") + std::string(what);
  }
  if (!names.empty())
    context.report.add(Severity::changed, "process", "namespaces",
                       fmt::format("it is in namespaces of its own ({}): it comes back in those of "
                                   "the restore",
                                   names));
}

}  // namespace

void report_process(CaptureContext& context) {
  report_segments(context);
  report_keyrings(context);
  report_landlock(context);
  report_session(context);
  report_surroundings(context);
}

namespace {

using Remembered = image::Row<ProcessIds, &ProcessIds::pid, &ProcessIds::parent, &ProcessIds::group,
                              &ProcessIds::session>;

}  // namespace

const image::Fields<ProcessState>& fields_of(const ProcessState* /*type*/) {
  using enum image::Presence;
  using P = ProcessState;
  static const image::Fields<P> fields = {
      "process",
      {{"pid", &P::pid, "process id as the program sees it"},
       {"ppid", &P::parent, "its parent's, as the saver saw it"},
       {"pgrp", &P::group, "its process group's, likewise"},
       {"session", &P::session, "its session's, likewise"},
       {"own_session", &P::own_session,
        "it led a session without a terminal, or was in one without a leader and a terminal: it "
        "comes back as the leader of one",
        later},
       {"own_terminal", &P::own_terminal,
        "the number of the pseudoterminal that controls this session, if its master is among the "
        "descriptors, else -1",
        later},
       image::Field<P>::as<Remembered>(
           "remembered", &P::remembered,
           "process, parent, group and session as the program remembers them; other than the "
           "above if it had been restored with new ids"),
       {"start_ticks", &P::start_ticks,
        "when the process was started, in clock ticks since boot (field 22 of /proc/PID/stat)",
        later},
       {"uid", &P::uid, "real user id"},
       {"gid", &P::gid, "real group id"},
       {"umask", &P::umask, ""},
       {"cwd", &P::directory, "working directory"},
       {"removed_cwd", &P::removed_directory, "the working directory, if it has no name any more",
        later},
       {"cwd_process", &P::directory_process,
        "of a working directory in /proc that is another process's", later},
       {"root", &P::root, "root directory"},
       {"personality", &P::personality, "personality(2)"},
       {"rlimits", &P::limits, "soft and hard limit by number (getrlimit(2)); 2^64-1 is unlimited"},
       {"extended_features", &P::extended_features,
        "what `arch_prctl(ARCH_GET_XCOMP_PERM)` answered: bit 18 is AMX tile data"},
       {"attributes", &P::attributes, ""}},
      [](P& state) {
        if (state.pid <= 0) image::damaged("the process id");
        if (state.directory.size() >= PATH_MAX) image::damaged("the working directory");
      }};
  return fields;
}

bool may_use_tiles(const ProcessState& state) {
  return ((state.extended_features >> arch::kTileDataFeature) & 1U) != 0;
}

void restore_feature_permissions(tracee::Inferior& inferior, const ProcessState& state) {
  if (!may_use_tiles(state)) return;
  inferior.call("arch_prctl(ARCH_REQ_XCOMP_PERM)", arch::kSysFeatures,
                {arch::kRequestFeaturePermission, arch::kTileDataFeature});
}

void restore_process(RestoreContext& inferior, const ProcessState& state, int directory) {
  const std::int64_t entered =
      directory >= 0 ? inferior.attempt(SYS_fchdir, {directory})
                     : inferior.attempt(SYS_chdir, {inferior.put_string(state.directory)});
  inferior.attempt(SYS_umask, {state.umask});
  inferior.attempt(SYS_personality, {state.personality});
  if (const int error = tracee::error_of(entered))
    inferior.notes.push_back(
        fmt::format("the working directory {} cannot be entered ({}): the program is "
                    "in the directory of the restore",
                    state.directory, describe_errno(error)));
}

void restore_limits(RestoreContext& inferior, const ProcessState& state) {
  const Tid pid = inferior.pid();
  for (std::size_t i = 0; i < state.limits.size() && i < RLIM_NLIMITS; ++i) {
    const auto resource = static_cast<__rlimit_resource>(i);
    rlimit wanted{state.limits[i].first, state.limits[i].second};
    if (::prlimit(pid, resource, &wanted, nullptr) == 0) continue;
    // A hard limit can only be lowered: at least the soft one, as far as it goes.
    rlimit now{};
    if (::prlimit(pid, resource, nullptr, &now) != 0) continue;
    wanted.rlim_max = std::min<rlim_t>(wanted.rlim_max, now.rlim_max);
    wanted.rlim_cur = std::min<rlim_t>(wanted.rlim_cur, wanted.rlim_max);
    if (::prlimit(pid, resource, &wanted, nullptr) != 0 || wanted.rlim_cur != state.limits[i].first)
      inferior.notes.push_back(
          fmt::format("resource limit {} is lower than it was: {} instead of {}", i,
                      wanted.rlim_cur, state.limits[i].first));
  }
}

}  // namespace ckpt::state
