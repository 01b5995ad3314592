// Running a stopped thread on by single steps.
#pragma once

#include <cstdint>
#include <functional>

#include "base/types.hpp"
#include "tracee/ptrace.hpp"

namespace ckpt::tracee {

/// Signals that a thread's own instructions cause. Stepping has effects on a program that ignores
/// one of these (its action becomes SIG_DFL) or has one of them pending (it is sent once more).
std::uint64_t forced_signals();

/// Steps the thread while `go_on` says so of its registers, at most `most_steps` times; no signal
/// is delivered meanwhile. Puts back the signal mask and what the thread's stop held, not the
/// registers. Returns whether `go_on` has said no; it is not asked again after a breakpoint or an
/// instruction that faults.
bool step_while(Tid tid, const std::function<bool(const Registers&)>& go_on, int most_steps);

}  // namespace ckpt::tracee
