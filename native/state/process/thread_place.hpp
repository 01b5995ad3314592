// What the threads of a process mostly share, and one may have for itself (unshare(2), setns(2)):
// its working directory and umask, which come back, its descriptors and its namespaces, which do
// not.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "image/fields.hpp"
#include "state/context.hpp"
#include "tracee/remote.hpp"

namespace ckpt::state {

struct ThreadPlace {
  std::string directory;
  unsigned umask = 0;
};

/// Nothing if it shares the main thread's, or, when that has ended, those of the first that lives.
/// What does not come back is reported.
std::optional<ThreadPlace> look_at_place(CaptureContext& context, Tid lwp);

const image::Fields<ThreadPlace>& fields_of(const ThreadPlace* /*type*/);

void restore_place(RestoreContext& inferior, const ThreadPlace& place);

}  // namespace ckpt::state
