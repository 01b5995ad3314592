// Ctrl-C (SIGINT) in those of our functions that GDB calls.
#pragma once

#include <pybind11/pybind11.h>

#include <csignal>

namespace ckpt::bindings {

/// While one exists, a Ctrl-C waits: it ends neither Python code nor GDB's own work in the middle.
/// For the thread that runs GDB: GDB's other threads take no signals.
class HeldInterrupts {
 public:
  /// Throws what a signal handler in Python raises that was due.
  HeldInterrupts();
  HeldInterrupts(const HeldInterrupts&) = delete;
  HeldInterrupts& operator=(const HeldInterrupts&) = delete;
  ~HeldInterrupts();

  /// Whether one waits, which is then forgotten. False when they are not held.
  static bool take();

 private:
  sigset_t before_{};
};

/// Adds to the module what Python code needs for this.
void define_interrupts(pybind11::module_& module);

}  // namespace ckpt::bindings
