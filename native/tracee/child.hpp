// A process that was started for one purpose, and does not outlive it.
#pragma once

#include <sys/types.h>

#include <utility>

#include "base/types.hpp"

namespace ckpt::tracee {

/// Ends with its owner, with all its threads; it has no children that are ours.
class Child {
 public:
  explicit Child(Tid pid) : pid_(pid) {}
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  Child& operator=(Child&& other) noexcept;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { end(); }

  [[nodiscard]] Tid pid() const noexcept { return pid_; }
  /// It has ended, or may live without its owner.
  Tid release() noexcept { return std::exchange(pid_, 0); }

 private:
  void end() noexcept;

  Tid pid_ = 0;
};

}  // namespace ckpt::tracee
