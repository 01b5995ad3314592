// The process that a restore makes: a fork of the restoring one, with the saved id if that is
// wanted, which executes the saved program and stops before its first instruction.
#pragma once

#include <string>
#include <vector>

#include "base/types.hpp"
#include "snapshot/restore.hpp"
#include "snapshot/snapshot.hpp"

namespace ckpt::snapshot {

/// Starts `program` with the layout and the session of the saved one. It has these descriptors, at
/// the numbers that they have here, is traced with `trace_options`, has no environment and blocks
/// all signals. `keep_ids`: with the id that the program remembers; throws IdRefused when it cannot
/// be had.
Tid start_program(const Snapshot& snapshot, const std::string& program,
                  const TransplantOptions& options, const std::vector<int>& inherited,
                  bool keep_ids, unsigned long trace_options);

}  // namespace ckpt::snapshot
