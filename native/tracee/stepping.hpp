// Running a stopped thread on by single steps.
#pragma once

#include <functional>

#include "base/types.hpp"
#include "tracee/ptrace.hpp"

namespace ckpt::tracee {

/// Steps the thread while `go_on` says so of its registers, at most `most_steps` times; no signal
/// is delivered meanwhile. Puts back the signal mask and what the thread's stop held, not the
/// registers. Returns whether `go_on` has said no; it has not been asked again after a breakpoint.
/// Throws Error (refused) when an instruction faults.
bool step_while(Tid tid, const std::function<bool(const Registers&)>& go_on, int most_steps);

}  // namespace ckpt::tracee
