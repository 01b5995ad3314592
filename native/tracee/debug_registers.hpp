// Whether the processor's debug registers stop a program. Under some hypervisors they do not: every
// request that sets them succeeds, and nothing ever traps. GDB then says "Hardware watchpoint 2"
// and misses every change.
#pragma once

#include <chrono>
#include <functional>
#include <optional>

#include "base/types.hpp"

namespace ckpt::tracee {

struct DebugRegisters {
  /// A watchpoint stops the program.
  bool data = false;
  /// A breakpoint of the hardware does.
  bool code = false;
};

/// What a child of the probe is going to write to, and to execute after that.
struct ProbeTargets {
  Addr data;
  Addr code;
};

/// Sets a watchpoint and a breakpoint in a stopped child. May throw Error.
using SetDebugRegisters = std::function<void(Tid child, const ProbeTargets& targets)>;

/// By PTRACE_POKEUSER, as a debugger does.
void set_debug_registers(Tid child, const ProbeTargets& targets);

/// Finds out by trying, in a child of this process that this thread traces: what counts is whether
/// the child stops. Nothing when there is no answer within `limit`, or no child to be traced.
std::optional<DebugRegisters> try_debug_registers(
    const SetDebugRegisters& set = set_debug_registers,
    std::chrono::milliseconds limit = std::chrono::seconds(5));

}  // namespace ckpt::tracee
