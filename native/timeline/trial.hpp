// What if: a copy of the program at a position, of which registers and memory may be changed, and
// which may run on by itself, as a debugger's calls of functions do. History stays as it is: what
// comes of a trial is dropped with it.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string_view>

#include "replayer/replay.hpp"
#include "timeline/breakpoints.hpp"
#include "timeline/halt.hpp"

namespace ckpt::timeline {

class Trial {
 public:
  explicit Trial(const replayer::Replay& history) : replay_(history.copy()) {}

  [[nodiscard]] replayer::Replay& replay() { return replay_; }
  [[nodiscard]] const replayer::Replay& replay() const { return replay_; }

  /// Throws Error where nothing is mapped.
  void write(Addr at, std::span<const std::byte> bytes);
  /// Whether memory was written.
  [[nodiscard]] bool written() const { return written_; }

  struct Surroundings {
    const Breakpoints& breakpoints;
    std::function<bool()> interrupted;
    std::function<void(std::string_view)> show;  // what it writes to its output
  };
  /// To a breakpoint or a signal. A system call is made where it concerns memory or output; others
  /// fail with ENOSYS, as nothing is there that they could act on, and ending the process stops the
  /// trial with SIGSYS.
  Halt run(const Surroundings& around);
  Halt step(const Surroundings& around);

 private:
  std::optional<Halt> pass(const replayer::Stop& stop, const Surroundings& around);
  bool answer_call(const Surroundings& around);
  std::optional<std::int64_t> result_of_call(const Surroundings& around);
  bool execute_recorded_instruction();

  replayer::Replay replay_;
  bool written_ = false;
};

}  // namespace ckpt::timeline
