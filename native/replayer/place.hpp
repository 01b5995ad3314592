// A place between two events at which a thread can be: its registers, the top of its stack, and all
// memory, which is looked at only where the rest is as it should be.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "recording/event.hpp"
#include "replayer/task.hpp"

namespace ckpt::replayer {

class Place {
 public:
  /// Where a preemption is.
  explicit Place(const recording::Event& preemption);
  /// Where the task is, which stays there for as long as this is used.
  explicit Place(const Task& task);

  [[nodiscard]] Addr pc() const { return registers_.pc(); }
  [[nodiscard]] const arch::Registers& registers() const { return registers_; }
  /// Leaves out a window of digests, in which is what was put there to find the place.
  void ignore(Addr window) { ignored_ = window; }
  [[nodiscard]] bool is_place_of(const Task& task) const;
  /// The same with other registers than the task has: those that it had before what was put there.
  [[nodiscard]] bool is_place_of(const Task& task, const arch::Registers& registers) const;

 private:
  [[nodiscard]] bool has_memory_of(const Task& task) const;

  arch::Registers registers_;
  std::uint64_t stack_digest_;
  const Task* task_ = nullptr;
  std::optional<Addr> ignored_;
  mutable std::optional<std::vector<recording::WindowDigest>> memory_;
};

}  // namespace ckpt::replayer
