// What every kind of state gets handed when it is captured or restored.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/types.hpp"
#include "proc/pagemap.hpp"
#include "state/report.hpp"
#include "store/objects.hpp"
#include "tracee/inferior.hpp"

namespace ckpt::state {

/// Bytes done, bytes in all; returns false to cancel. Never throws.
using Progress = std::function<bool(std::uint64_t, std::uint64_t)>;

/// The stopped process that is being captured. It runs calls while it is interrogated
/// (snapshot/capture.cpp), and no others.
struct CaptureContext : tracee::Inferior {
  CaptureContext(Tid pid, store::Objects store)
      : Inferior(pid), mappings(process.mappings()), objects(std::move(store)) {}

  std::vector<proc::Mapping> mappings;  // while it has none of our mappings
  store::Objects objects;
  Report report;
  std::uint64_t file_limit_bytes = 0;
  Progress progress;
  /// The program's own bytes where a debugger has put breakpoint instructions; may be empty.
  std::function<std::string(Addr, std::uint64_t)> read_code;
  /// Memory that an earlier restore put into the process, which is not the program's.
  std::vector<proc::PageRun> hidden;
  /// Starts of mappings that come back with something else: rings of the kernel.
  std::set<Addr> returning;
  /// The program's own bytes where that restore changed them.
  std::vector<std::pair<Addr, std::vector<std::byte>>> unpatched;
};

/// The process that a snapshot is being restored into.
struct RestoreContext : tracee::Inferior {
  /// `first_free_fd`: none at or above it is in use, nor will be. `said`: what does not come back
  /// as it was is added to it.
  RestoreContext(Tid pid, int first_free_fd, std::vector<std::string>& said)
      : Inferior(pid), notes(said), next_fd(first_free_fd) {}

  /// Makes a call that returns a descriptor, which is moved out of the way of all final numbers.
  int open(const char* what, long number, tracee::Arguments arguments);
  /// The same for a descriptor that a call has stored somewhere.
  int move_away(int fd);
  void close(int fd);

  std::vector<std::string>& notes;
  int next_fd;
  bool own_ipc = false;  // its System V objects are in a namespace of its own
};

/// How open files come back.
enum class FilesMode { automatic, real, sandbox, private_copies, strict };

/// How pipes and connections to other processes come back.
enum class PeersMode {
  reset,   // closed or reset: end of file, EPIPE, ECONNRESET
  silent,  // with a far end that is open, sends nothing and discards what it gets
};

struct RestoreOptions {
  std::string store;  // directory; empty = the default one
  FilesMode files = FilesMode::automatic;
  PeersMode peers = PeersMode::reset;
  std::map<std::string, std::string> replaced_files;  // OLD=NEW
  std::map<int, std::string> streams;                 // 0, 1, 2 -> path
  std::vector<std::string> environment;               // NAME=VALUE, to be set
  std::set<Tid> ending;  // processes that will be gone before the program goes on
};

}  // namespace ckpt::state
