// One save, from a stopped process to a file with a name: the order in which the kinds of state are
// walked, and nothing else.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/types.hpp"
#include "image/format.hpp"
#include "snapshot/record.hpp"
#include "state/context.hpp"
#include "state/report.hpp"
#include "state/terminal/terminal_input.hpp"

namespace ckpt::snapshot {

struct CaptureRequest {
  struct Thread {
    Tid lwp = 0;
    int number = 0;             // the debugger's, 0 without one
    std::uint64_t pthread = 0;  // pthread_t, 0 if unknown
    int held_signal = 0;        // stopped with it and will get it when it goes on
  };

  Tid pid = 0;
  std::string output;  // absolute path of the snapshot
  std::string store;   // directory
  std::uint64_t file_limit_bytes = 64U << 20U;
  bool overwrite = false;
  bool strict = false;  // refuse when something would be lost or changed
  std::string name;
  std::string message;
  std::string stop;   // where it stopped, in words
  std::string place;  // the same in a few words, of the program's own code
  std::optional<Parent> parent;
  std::vector<Thread> threads;  // in the debugger's order
  Tid selected_lwp = 0;
  int selected_frame = 0;
  /// The ptrace options of the tracer that has stopped the process, if they are known: needed to
  /// suspend a seccomp filter.
  std::optional<unsigned long> tracer_options;
  std::vector<state::Finding> findings;  // what the debugger knows for the report
  image::Json session;                   // the debugger's own state, kept as it is
  image::Json terminal;                  // the program's terminal modes, null if unknown
  state::InputRequest input;
  state::Progress progress;
  std::function<std::string(Addr, std::uint64_t)> read_code;
};

struct CaptureResult {
  std::string path;
  std::uint64_t file_bytes = 0;  // on disk
  double seconds = 0;
  std::size_t threads = 0;
  std::vector<state::Finding> fidelity;
};

/// Precondition: every thread of the process is stopped and traced by the calling thread.
/// On any Error the process is as it was and there is no file.
CaptureResult capture(const CaptureRequest& request);

/// The options that GDB sets on what it traces.
unsigned long debugger_options(bool attached);

/// For tracers that are not debuggers: calls that a stop has ended with EINTR although nothing
/// happened go on when the process does. Precondition as for capture().
void undo_needless_interruptions(Tid pid, const std::vector<Tid>& threads);

}  // namespace ckpt::snapshot
