// A jump in the program to code that compares its registers (arch/position_stub.hpp), for places
// that it comes by too often for a breakpoint.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <vector>

#include "arch/position_stub.hpp"
#include "replayer/task.hpp"

namespace ckpt::replayer {

class PositionJump {
 public:
  /// How many bytes of code it replaces at `at`; nothing if no jump can be put there.
  static std::optional<std::size_t> room(const Task& task, Addr at);
  /// Puts it where the program counter of `wanted` is. Nothing if that cannot be done. The task
  /// must not stand within the bytes that it replaces, but for the first.
  static std::optional<PositionJump> put(const Task& task, const arch::Registers& wanted);

  /// One that stops the program at that pass of `at`.
  static std::optional<PositionJump> put_counter(const Task& task, Addr at, std::uint64_t passes);
  /// How many of them are left.
  [[nodiscard]] std::uint64_t passes_left() const;

  /// The registers that the thread had at the place, if it has stopped since they are as wanted.
  [[nodiscard]] std::optional<arch::Registers> hit(const arch::Registers& now) const;
  /// Whether the address is in the code that the jump leads to.
  [[nodiscard]] bool leads_to(Addr at) const;
  /// Where the moved instruction at that address stands in the program; nothing if none is there.
  [[nodiscard]] std::optional<Addr> original_of(Addr at) const;
  /// The window of digests of memory in which that code is, and nothing else.
  [[nodiscard]] Addr window() const { return stub_; }

  /// Puts the program's own instructions back, and the jump in their place again.
  void take_out() const;
  void put_back() const;
  /// Takes it out for ever. False if its memory cannot be unmapped.
  [[nodiscard]] bool remove() const;

 private:
  PositionJump(const Task& task, Addr from, Addr stub) : task_(&task), from_(from), stub_(stub) {}
  [[nodiscard]] bool map() const;
  [[nodiscard]] bool install(std::span<const std::byte> code,
                             std::optional<arch::PositionStub> stub);

  const Task* task_;
  Addr from_;
  Addr stub_;
  arch::PositionStub code_;
  std::vector<std::byte> original_;
};

/// Steps until the task stands no more behind `start` and before `end`. False if something else
/// comes first.
bool step_out_of(const Task& task, Addr start, Addr end);

}  // namespace ckpt::replayer
