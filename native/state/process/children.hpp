// Child processes. Those that have ended and were not waited for come back as such: a wait gets
// their exit status. Living ones are no part of a snapshot: they come back as killed, as a
// connection comes back as reset, and the program does what it does then.
//
// At the restore a child is made for each, while the process has next to no memory to copy, and
// made to end the same way at once. It has the id it had if ids are kept.
#pragma once

#include <string>
#include <vector>

#include "image/fields.hpp"
#include "state/context.hpp"
#include "state/process/signals.hpp"
#include "tracee/remote.hpp"

namespace ckpt::state {

struct EndedChild {
  Tid pid = 0;         // as the program's kernel knew it
  Tid remembered = 0;  // as the program knows it
  Tid group = 0;       // its process group, 0 for that of the program
  int code = 0;        // CLD_EXITED, CLD_KILLED or CLD_DUMPED
  int status = 0;      // exit status or signal
  int exit_signal = 0;
  std::uint32_t uid = 0;
  bool lived = false;        // at the save
  bool own_session = false;  // it led one
};

/// Reads the statuses of children that have ended, and reports the others.
std::vector<EndedChild> capture_children(CaptureContext& context, const SignalState& signals);

/// Queues the signals that tell of the ends of children that lived, as far as the kernel would:
/// `blocked` is the mask of the main thread. Their `remembered` ids are known.
void queue_ends(SignalState& signals, const std::vector<EndedChild>& children,
                std::uint64_t blocked);

const image::Fields<EndedChild>& fields_of(const EndedChild* /*type*/);

/// Makes children that have ended, and takes the signals of their ends out of the queue. Returns
/// their ids in the order of the record. The process was just executed, its thread has the ptrace
/// options `options`; all signals are blocked. `keep_ids`: with the ids that the program remembers;
/// throws Error when one cannot be had.
std::vector<Tid> make_ended_children(RestoreContext& inferior, unsigned long options,
                                     const std::vector<EndedChild>& children, bool keep_ids);

}  // namespace ckpt::state
