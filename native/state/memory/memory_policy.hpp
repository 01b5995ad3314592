// On which nodes of memory (NUMA) a thread's or a mapping's pages are to be: set_mempolicy(2),
// mbind(2).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.hpp"
#include "image/fields.hpp"
#include "proc/process_dir.hpp"
#include "tracee/inferior.hpp"

namespace ckpt::state {

struct MemoryPolicy {
  int mode = 0;  // MPOL_*, with its flags
  std::vector<int> nodes;

  auto operator<=>(const MemoryPolicy&) const = default;
};

/// As a line of /proc/PID/numa_maps says it behind the address: "bind:0-1,3 anon=5 ...". The
/// default for what is not known.
MemoryPolicy parse_memory_policy(std::string_view text);

/// Those of all mappings, by their beginnings; empty if they are the default. Slow where much
/// memory is used: on a machine of one node only looked for if the main thread has a policy,
/// `main`, which the kernel shows for mappings without one.
std::map<Addr, MemoryPolicy> look_at_memory_policies(const proc::ProcessDir& process,
                                                     const MemoryPolicy& main);

/// A thread's own.
MemoryPolicy ask_memory_policy(tracee::Inferior& inferior);

/// Sets a thread's own, or that of a range of the process. Returns 0 or an errno value.
int set_memory_policy(tracee::Inferior& inferior, const MemoryPolicy& policy);
int set_memory_policy(tracee::Inferior& inferior, const MemoryPolicy& policy, Addr start,
                      std::uint64_t bytes);

const image::Fields<MemoryPolicy>& fields_of(const MemoryPolicy* /*type*/);

}  // namespace ckpt::state
