// Terminal modes: what the program had set, kept with the snapshot. A debugger knows them while the
// program is stopped (the terminal itself then has the debugger's), so they come from there.
// Without a debugger the terminal has them.
#pragma once

#include "base/unique_fd.hpp"
#include "image/format.hpp"
#include "proc/process_dir.hpp"

namespace ckpt::state {

/// The first of a process's standard streams that is a terminal, opened anew; empty if none is.
UniqueFd open_terminal(const proc::ProcessDir& process);

/// The modes of the first of a process's standard streams that is a terminal; null when none is.
image::Json read_terminal(const proc::ProcessDir& process);

/// Rows and columns of that terminal; null without one.
image::Json read_terminal_size(const proc::ProcessDir& process);

/// Sets the modes of the terminal open as `fd`, also from its background. Throws Error when the
/// modes are malformed (damaged) or cannot be set (system).
void write_terminal(int fd, const image::Json& modes);

}  // namespace ckpt::state
