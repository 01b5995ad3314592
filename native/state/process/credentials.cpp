#include "state/process/credentials.hpp"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <span>
#include <sstream>
#include <string_view>
#include <tuple>

#include "base/error.hpp"
#include "proc/process_dir.hpp"
#include "state/surroundings/namespaces.hpp"

namespace ckpt::state {

namespace {

using image::Json;

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

const image::Fields<Credentials>& fields_of(const Credentials* /*type*/) {
  static const image::Fields<Credentials> fields = {
      "credentials",
      {{"uids", &Credentials::uids, "real, effective, saved, file system"},
       {"gids", &Credentials::gids, "likewise"},
       {"groups", &Credentials::groups, ""},
       {"inheritable", &Credentials::inheritable, "a set of capabilities: bit N is capability N"},
       {"permitted", &Credentials::permitted, "likewise"},
       {"effective", &Credentials::effective, "likewise"},
       {"bounding", &Credentials::bounding, "likewise"},
       {"ambient", &Credentials::ambient, "likewise"}},
      [](Credentials& credentials) {
        if (credentials.groups.size() > kMostGroups) image::damaged("a thread's groups");
      }};
  return fields;
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

void set_capabilities(tracee::Inferior& inferior, std::uint64_t effective, std::uint64_t permitted,
                      std::uint64_t inheritable) {
  __user_cap_header_struct header{};
  header.version = _LINUX_CAPABILITY_VERSION_3;
  std::array<__user_cap_data_struct, 2> words{};
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto part = [&](std::uint64_t set) { return static_cast<std::uint32_t>(set >> 32U * i); };
    words.at(i) = {part(effective), part(permitted), part(inheritable)};
  }
  inferior.call("capset", SYS_capset, {inferior.put_value(header), inferior.put_value(words)});
}

void for_each_capability(std::uint64_t set, const std::function<void(unsigned)>& use) {
  for (unsigned capability = 0; capability < 64; ++capability)
    if (((set >> capability) & 1U) != 0) use(capability);
}

void restore_as_ordinary_user(RestoreContext& inferior, const Credentials& credentials,
                              const Credentials& now, std::uint64_t securebits) {
  const auto note = [&](std::string_view text) {
    inferior.notes.push_back(fmt::format("thread {}: {}", inferior.tid(), text));
  };
  if (securebits == SECBIT_KEEP_CAPS)  // the one that needs no privilege
    inferior.call("prctl(PR_SET_KEEPCAPS)", SYS_prctl, {PR_SET_KEEPCAPS, 1});
  else if (securebits != 0)
    note("its securebits cannot be set again by this user");
  // That the user is another one is told before anything is started.
  if (credentials.uids != now.uids) return;
  const bool same_groups =
      credentials.groups == now.groups ||
      (in_own_user_namespace() && credentials.groups.size() == now.groups.size());
  if (credentials.gids != now.gids || !same_groups)
    note("its groups are those of this user, not those it had");
  if ((credentials.permitted & ~now.permitted) != 0) note("it lacks capabilities that it had");
}

}  // namespace

void restore_credentials(RestoreContext& inferior, const Credentials& credentials,
                         const Credentials& now, std::uint64_t securebits) {
  if (!may_restore_credentials(credentials)) {
    restore_as_ordinary_user(inferior, credentials, now, securebits);
    return;
  }
  if (credentials == now && securebits == 0) return;
  // What we do not have ourselves cannot be given.
  const std::uint64_t permitted = credentials.permitted & now.permitted;
  if (permitted != credentials.permitted)
    inferior.notes.push_back(
        fmt::format("thread {}: it lacks capabilities that it had", inferior.tid()));
  const std::uint64_t inheritable = credentials.inheritable & (now.bounding | now.inheritable);
  if (credentials != now) {
    // A change of ids shall not change capabilities, until the end.
    inferior.call("prctl(PR_SET_SECUREBITS)", SYS_prctl,
                  {PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP});
    const auto& [groups, gids, uids] =
        std::tie(credentials.groups, credentials.gids, credentials.uids);
    if (groups != now.groups)
      inferior.call("setgroups", SYS_setgroups,
                    {groups.size(), inferior.put(std::as_bytes(std::span(groups)))});
    inferior.call("setresgid", SYS_setresgid, {gids[0], gids[1], gids[2]});
    inferior.call("setfsgid", SYS_setfsgid, {gids[3]});
    inferior.call("setresuid", SYS_setresuid, {uids[0], uids[1], uids[2]});
    inferior.call("setfsuid", SYS_setfsuid, {uids[3]});
    set_capabilities(inferior, now.permitted, now.permitted, inheritable);
    inferior.call("prctl(PR_CAP_AMBIENT)", SYS_prctl,
                  {PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0});
    for_each_capability(credentials.ambient & permitted & inheritable, [&](unsigned capability) {
      inferior.call("raise a capability", SYS_prctl,
                    {PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0});
    });
    for_each_capability(now.bounding & ~credentials.bounding, [&](unsigned capability) {
      inferior.call("drop a capability", SYS_prctl, {PR_CAPBSET_DROP, capability, 0, 0, 0});
    });
  }
  inferior.call("prctl(PR_SET_SECUREBITS)", SYS_prctl, {PR_SET_SECUREBITS, securebits});
  if (credentials != now)
    set_capabilities(inferior, credentials.effective & permitted, permitted, inheritable);
}

}  // namespace ckpt::state
