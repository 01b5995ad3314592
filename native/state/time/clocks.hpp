// The clocks that a reboot or a restore would make jump: CLOCK_MONOTONIC and CLOCK_BOOTTIME. In a
// time namespace (time_namespaces(7)) they go on from where they were.
#pragma once

#include <ctime>

#include <optional>
#include <string>
#include <vector>

#include "image/fields.hpp"
#include "state/context.hpp"
#include "tracee/remote.hpp"

namespace ckpt::state {

/// What the program saw last.
struct ClockState {
  timespec monotonic{};
  timespec boottime{};
};

enum class ClockMode {
  automatic,  // keep for the privileged, else real
  keep,       // an ordinary user needs a user namespace for it
  real,
};

/// By how much the program's clocks are ahead of our own.
ClockState ask_clocks_ahead(CaptureContext& context);
/// What they show by now. To be asked when all that was to run on a clock has been captured: what
/// is left of a timer must not be more than what is left of the time.
ClockState clocks_by_now(const ClockState& ahead);

const image::Fields<ClockState>& fields_of(const ClockState* /*type*/);

/// Throws Error (unsupported, refused) when this user cannot have a time namespace but asks for
/// one. Tells from settings alone; starts nothing.
void check_clocks(ClockMode mode);

/// Has the children of this process see the saved clocks, if that is asked for and possible; says
/// in `notes` what the program will notice. The calling process has one thread. Throws Error when
/// `keep` is asked for and impossible.
void enter_clocks(const std::optional<ClockState>& saved, ClockMode mode,
                  std::vector<std::string>& notes);

/// Whether a process is in a time namespace other than ours.
bool has_own_clocks(const proc::ProcessDir& process);

}  // namespace ckpt::state
