// Another environment for a restored program: what getenv() tells in it. Done as setenv() does it,
// by new strings and, if there are more of them, a new array; no memory of the program is written
// over but the pointers to them, so that code that kept a string still has it as it was.
#pragma once

#include "snapshot/snapshot.hpp"
#include "tracee/memory.hpp"
#include "tracee/remote.hpp"

namespace ckpt::snapshot {

/// Before anything is started: whether the changes in `files`' options can be made. Throws Error
/// (usage) for one that is not NAME=VALUE, (refused) for a program whose environment is not found.
void check_environment(const Snapshot& snapshot, state::FileSource& files);

/// Makes the changes. Memory is filled, no thread runs. Throws Error.
void change_environment(const Snapshot& snapshot, state::FileSource& files,
                        tracee::Inferior& inferior);

}  // namespace ckpt::snapshot
