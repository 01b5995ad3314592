#include "state/surroundings/namespaces.hpp"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/process_dir.hpp"

namespace ckpt::state {

namespace {

bool in_user_namespace = false;

}  // namespace

bool may_make_namespaces() {
  constexpr unsigned kCapSysAdmin = 21;
  return ((proc::ProcessDir(::getpid()).status().effective_capabilities >> kCapSysAdmin) & 1U) != 0;
}

void write_setting(const char* path, const std::string& text) {
  const UniqueFd file = open_file(path, O_WRONLY);
  write_all(file.get(), text, path);
}

bool is_zero_setting(const char* path) {
  auto text = try_read_file(path);
  if (text && text->ends_with('\n')) text->pop_back();
  return text == "0";
}

bool may_have_user_namespace() {
  return ::access("/proc/self/ns/user", F_OK) == 0 &&
         !is_zero_setting("/proc/sys/user/max_user_namespaces") &&
         !is_zero_setting("/proc/sys/kernel/unprivileged_userns_clone");
}

bool in_own_user_namespace() { return in_user_namespace; }

void enter_user_namespace(const std::string& what) {
  if (in_user_namespace) return;
  const auto uid = ::geteuid();
  const auto gid = ::getegid();
  if (::unshare(CLONE_NEWUSER) != 0) throw_errno(what, errno);
  in_user_namespace = true;
  write_setting("/proc/self/setgroups", "deny");
  write_setting("/proc/self/uid_map", fmt::format("{} {} 1", uid, uid));
  write_setting("/proc/self/gid_map", fmt::format("{} {} 1", gid, gid));
}

}  // namespace ckpt::state
