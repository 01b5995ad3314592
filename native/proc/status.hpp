// /proc/PID/status and /proc/PID/stat (proc(5)).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.hpp"

namespace ckpt::proc {

struct Status {
  std::string name;
  char state = '?';
  Tid tgid = 0;
  Tid pid = 0;
  Tid tracer = 0;
  std::vector<Tid> ns_pids;             // outermost first; the last is what the process itself sees
  std::array<std::uint32_t, 4> uids{};  // real, effective, saved, file system
  std::array<std::uint32_t, 4> gids{};
  std::uint32_t umask = 022;
  int threads = 1;
  std::uint64_t pending = 0;  // this thread's queue; bit N-1 is signal N
  std::uint64_t shared_pending = 0;
  std::uint64_t blocked = 0;
  std::uint64_t ignored = 0;
  std::uint64_t caught = 0;
  std::vector<std::uint32_t> groups;
  std::uint64_t inheritable_capabilities = 0;  // bit N is capability N (capabilities(7))
  std::uint64_t permitted_capabilities = 0;
  std::uint64_t effective_capabilities = 0;
  std::uint64_t bounding_capabilities = 0;
  std::uint64_t ambient_capabilities = 0;
  int seccomp = 0;  // 0 none, 1 strict, 2 filter
  int no_new_privs = 0;
};

/// Parses /proc/PID/status. Throws Error (unsupported) naming a line it cannot parse.
Status parse_status(std::string_view text);

/// Fields of /proc/PID/stat that nothing else tells. Addresses read 0 without ptrace permission.
struct Stat {
  std::string comm;
  char state = '?';
  Tid parent = 0;
  Tid process_group = 0;
  Tid session = 0;
  std::uint64_t tty_device = 0;
  Tid foreground_group = 0;  // of that terminal; -1 without one
  std::uint32_t flags = 0;   // PF_*, <linux/sched.h>
  std::uint64_t start_time_ticks = 0;
  int exit_signal = 0;  // what its parent gets when it ends
  Addr start_code, end_code, start_stack;
  Addr start_data, end_data, start_brk;
  Addr arg_start, arg_end, env_start, env_end;
};

/// Parses /proc/PID/stat. Throws Error (unsupported).
Stat parse_stat(std::string_view text);

}  // namespace ckpt::proc
