#include "state/process/credentials.hpp"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <sstream>
#include <string_view>

#include "base/error.hpp"
#include "proc/process_dir.hpp"
#include "state/surroundings/namespaces.hpp"

namespace ckpt::state {

namespace {

using image::Json;
using tracee::loop_entry;
using tracee::LoopEntry;

constexpr std::size_t kMostGroups = 65536;  // NGROUPS_MAX

}  // namespace

Credentials credentials_of(const proc::Status& status) {
  return {status.uids,
          status.gids,
          status.groups,
          status.inheritable_capabilities,
          status.permitted_capabilities,
          status.effective_capabilities,
          status.bounding_capabilities,
          status.ambient_capabilities};
}

Json credentials_to_json(const Credentials& credentials) {
  return {{"uids", credentials.uids},           {"gids", credentials.gids},
          {"groups", credentials.groups},       {"inheritable", credentials.inheritable},
          {"permitted", credentials.permitted}, {"effective", credentials.effective},
          {"bounding", credentials.bounding},   {"ambient", credentials.ambient}};
}

Credentials credentials_from_json(const Json& json) {
  Credentials credentials;
  credentials.uids = json.at("uids").get<decltype(credentials.uids)>();
  credentials.gids = json.at("gids").get<decltype(credentials.gids)>();
  credentials.groups = json.at("groups").get<decltype(credentials.groups)>();
  if (credentials.groups.size() > kMostGroups) image::damaged("a thread's groups");
  credentials.inheritable = json.at("inheritable");
  credentials.permitted = json.at("permitted");
  credentials.effective = json.at("effective");
  credentials.bounding = json.at("bounding");
  credentials.ambient = json.at("ambient");
  return credentials;
}

namespace {

/// Whether this process's user namespace knows ids (user_namespaces(7)); `map`: uid_map or gid_map.
bool are_mapped(std::string_view map, std::span<const std::uint32_t> ids) {
  std::vector<std::array<std::uint64_t, 2>> ranges;
  std::istringstream lines(proc::ProcessDir(::getpid()).read(std::string(map)));
  for (std::uint64_t first = 0, parent = 0, count = 0; lines >> first >> parent >> count;)
    ranges.push_back({first, count});
  return std::ranges::all_of(ids, [&](std::uint64_t id) {
    return std::ranges::any_of(
        ranges, [&](const auto& range) { return id >= range[0] && id - range[0] < range[1]; });
  });
}

}  // namespace

bool may_restore_credentials(const Credentials& credentials) {
  constexpr std::uint64_t kNeeded = 1ULL << static_cast<unsigned>(CAP_SETUID) |
                                    1ULL << static_cast<unsigned>(CAP_SETGID) |
                                    1ULL << static_cast<unsigned>(CAP_SETPCAP);
  const proc::ProcessDir own(::getpid());
  if ((own.status().effective_capabilities & kNeeded) != kNeeded) return false;
  // Also root of a user namespace has all capabilities, but can become only whom that knows, and
  // may be denied a change of groups.
  return are_mapped("uid_map", credentials.uids) && are_mapped("gid_map", credentials.gids) &&
         are_mapped("gid_map", credentials.groups) && own.read("setgroups") != "deny\n";
}

namespace {

class Changer {
 public:
  Changer(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
          const tracee::Memory& memory)
      : thread_(thread), scratch_(scratch), memory_(memory) {}

  void call(const char* what, long number, std::initializer_list<std::uint64_t> arguments) {
    std::array<LoopEntry, 1> table = {loop_entry(number, arguments)};
    thread_.run(scratch_, table, true, what);
  }

  void set_groups(const std::vector<std::uint32_t>& groups) {
    if (groups.size() * sizeof(std::uint32_t) > scratch_.data_bytes - sizeof(LoopEntry))
      fail(ErrorKind::unsupported, "{} supplementary groups are too many", groups.size());
    memory_.write(data(), std::as_bytes(std::span(groups)));
    call("setgroups", SYS_setgroups, {groups.size(), data().value});
  }

  void set_capabilities(std::uint64_t effective, std::uint64_t permitted,
                        std::uint64_t inheritable) {
    struct {
      __user_cap_header_struct header;
      std::array<__user_cap_data_struct, 2> words;
    } wanted{};
    wanted.header.version = _LINUX_CAPABILITY_VERSION_3;
    for (std::size_t i = 0; i < wanted.words.size(); ++i) {
      const auto part = [&](std::uint64_t set) {
        return static_cast<std::uint32_t>(set >> 32U * i);
      };
      wanted.words.at(i) = {part(effective), part(permitted), part(inheritable)};
    }
    memory_.write_value(data(), wanted);
    call("capset", SYS_capset, {data().value, (data() + sizeof wanted.header).value});
  }

 private:
  [[nodiscard]] Addr data() const { return scratch_.data + sizeof(LoopEntry); }

  tracee::RemoteThread& thread_;
  const tracee::Scratch& scratch_;
  const tracee::Memory& memory_;
};

}  // namespace

void restore_credentials(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                         const tracee::Memory& memory, const Credentials& credentials,
                         const Credentials& now, std::uint64_t securebits,
                         std::vector<std::string>& notes) {
  Changer changer(thread, scratch, memory);
  if (!may_restore_credentials(credentials)) {
    if (securebits == SECBIT_KEEP_CAPS)  // the one that needs no privilege
      changer.call("prctl(PR_SET_KEEPCAPS)", SYS_prctl, {PR_SET_KEEPCAPS, 1});
    else if (securebits != 0)
      notes.push_back(
          fmt::format("thread {}: its securebits cannot be set again by this user", thread.tid()));
    // That the user is another one is told before anything is started.
    if (credentials.uids != now.uids) return;
    const bool same_groups =
        credentials.groups == now.groups ||
        (in_own_user_namespace() && credentials.groups.size() == now.groups.size());
    if (credentials.gids != now.gids || !same_groups)
      notes.push_back(fmt::format("thread {}: its groups are those of this user, not those it had",
                                  thread.tid()));
    if ((credentials.permitted & ~now.permitted) != 0)
      notes.push_back(fmt::format("thread {}: it lacks capabilities that it had", thread.tid()));
    return;
  }
  const auto drop = [&](std::uint64_t set, long option, std::uint64_t first) {
    for (unsigned capability = 0; capability < 64; ++capability)
      if (((set >> capability) & 1U) != 0) {
        if (option == PR_CAPBSET_DROP)
          changer.call("drop a capability", SYS_prctl, {PR_CAPBSET_DROP, capability, 0, 0, 0});
        else
          changer.call("raise a capability", SYS_prctl,
                       {static_cast<std::uint64_t>(option), first, capability, 0, 0});
      }
  };
  if (credentials == now && securebits == 0) return;
  // What we do not have ourselves cannot be given.
  const std::uint64_t permitted = credentials.permitted & now.permitted;
  if (permitted != credentials.permitted)
    notes.push_back(fmt::format("thread {}: it lacks capabilities that it had", thread.tid()));
  const std::uint64_t inheritable = credentials.inheritable & (now.bounding | now.inheritable);
  if (credentials != now) {
    // A change of ids shall not change capabilities, until the end.
    changer.call("prctl(PR_SET_SECUREBITS)", SYS_prctl,
                 {PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP});
    if (credentials.groups != now.groups) changer.set_groups(credentials.groups);
    const auto& gids = credentials.gids;
    const auto& uids = credentials.uids;
    changer.call("setresgid", SYS_setresgid, {gids[0], gids[1], gids[2]});
    changer.call("setfsgid", SYS_setfsgid, {gids[3]});
    changer.call("setresuid", SYS_setresuid, {uids[0], uids[1], uids[2]});
    changer.call("setfsuid", SYS_setfsuid, {uids[3]});
    changer.set_capabilities(now.permitted, now.permitted, inheritable);
    changer.call("prctl(PR_CAP_AMBIENT)", SYS_prctl,
                 {PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0});
    drop(credentials.ambient & permitted & inheritable, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE);
    drop(now.bounding & ~credentials.bounding, PR_CAPBSET_DROP, 0);
  }
  changer.call("prctl(PR_SET_SECUREBITS)", SYS_prctl, {PR_SET_SECUREBITS, securebits});
  if (credentials != now)
    changer.set_capabilities(credentials.effective & permitted, permitted, inheritable);
}

}  // namespace ckpt::state
