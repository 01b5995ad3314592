// Who else would notice what a restored program does to things that have names: the process that
// was saved, if it still runs, and others that write to the program's files.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/types.hpp"

namespace ckpt::state {

/// A process as /proc told of it.
struct Identity {
  Tid pid = 0;
  std::uint64_t start_ticks = 0;
  std::string boot_id;
};

/// Whether that very process still runs (a zombie does not).
bool still_runs(const Identity& process);

/// The boot id of this machine; empty where it cannot be read.
std::string boot_id();

struct Writer {
  Tid pid = 0;
  std::string name;  // of the process (comm)
  std::string path;  // of the file
};

/// A process other than those in `ignored` that could write to one of the regular files at `paths`:
/// by a descriptor or a shared mapping. Without privileges only this user's own processes can be
/// looked into; that another process writes to a file of one's own still shows, but not who (pid
/// 0).
std::optional<Writer> find_writer(const std::vector<std::string>& paths,
                                  const std::set<Tid>& ignored);

struct Neighbours {
  std::optional<Tid> original;   // the process that was saved, if it still runs
  std::optional<Writer> writer;  // looked for only if it does not

  [[nodiscard]] bool any() const { return original || writer; }
  /// A clause that says who there is, for the user.
  [[nodiscard]] std::string text() const;
};

}  // namespace ckpt::state
