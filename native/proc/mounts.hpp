// /proc/PID/mountinfo (proc(5)).
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

namespace ckpt::proc {

struct Mount {
  int id = 0;
  dev_t device = 0;
  std::string place;  // where it is mounted
};

/// Lines that are not understood are left out.
std::vector<Mount> parse_mounts(std::string_view text);

}  // namespace ckpt::proc
