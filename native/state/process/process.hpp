// What the kernel keeps per process besides memory, signals and descriptors: identity, directory,
// umask, personality, limits; and, for the fidelity report, what is not brought back.
#pragma once

#include <sys/resource.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "image/fields.hpp"
#include "state/context.hpp"
#include "state/files/removed_entries.hpp"
#include "state/process/attributes.hpp"
#include "state/surroundings/neighbours.hpp"
#include "tracee/remote.hpp"

namespace ckpt::state {

/// What getpid() and its like say.
struct ProcessIds {
  Tid pid = 0;
  Tid parent = 0;
  Tid group = 0;
  Tid session = 0;
};

struct ProcessState {
  Tid pid = 0;  // as the program sees it
  Tid parent = 0;
  Tid group = 0;
  Tid session = 0;
  // It led a session without a terminal, or was in one that had lost its leader: it comes back as
  // the leader of one.
  bool own_session = false;
  // The number of the pseudoterminal that controls this session, if its master is in the program,
  // too; else -1.
  int own_terminal = -1;
  // Other than these only if the process had been restored with new ids.
  ProcessIds remembered;
  std::uint64_t start_ticks = 0;  // with the id and the boot it names a process for good
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t umask = 022;
  std::string directory;
  std::optional<RemovedEntry> removed_directory;  // if it has no name any more
  std::optional<Identity> directory_process;      // if it is that of another process, in /proc
  std::string root;
  std::uint64_t personality = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> limits;  // soft, hard; by RLIMIT_ number
  ProcessAttributes attributes;
  std::uint64_t extended_features = 0;  // what arch_prctl(ARCH_GET_XCOMP_PERM) permits (AMX)
};

/// Whether this user may run calls in a program under a seccomp filter, and set its filters again.
bool may_suspend_seccomp();

/// Throws Error (refused) for processes that cannot be captured at all: 32-bit, set-id, memory
/// shared with another process, a kernel thread, seccomp without privilege.
void refuse_impossible(const proc::ProcessDir& process);

ProcessState capture_process(CaptureContext& context);
/// Names what is there and will not come back.
void report_process(CaptureContext& context);

const image::Fields<ProcessState>& fields_of(const ProcessState* /*type*/);

/// Whether the program had asked for AMX's tiles: without that the kernel lets no program use them.
bool may_use_tiles(const ProcessState& state);

/// Asks again for the processor features that a program must ask for. Before any other thread.
void restore_feature_permissions(tracee::Inferior& inferior, const ProcessState& state);

/// Directory, umask, personality. `directory`: a descriptor of the directory, if its name does not
/// lead to it; else -1.
void restore_process(RestoreContext& inferior, const ProcessState& state, int directory);
/// Limits, set from outside at the very end.
void restore_limits(RestoreContext& inferior, const ProcessState& state);

}  // namespace ckpt::state
