// The one task of a replay: how it is run, and how it is made to change its memory's layout.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>

#include "arch/syscall_rules.hpp"
#include "recording/event.hpp"
#include "recording/launch.hpp"
#include "tracee/memory.hpp"
#include "tracee/ptrace.hpp"

namespace ckpt::replayer {

/// What the task has stopped for.
struct Stop {
  enum class Kind { call, signal, interrupted } kind = Kind::call;
  int signal = 0;
};

class Task {
 public:
  /// At the program's first instruction, as at the start of the recording. Throws Error if the
  /// address space is another one.
  explicit Task(const recording::Start& start);

  [[nodiscard]] Tid pid() const { return process_.pid(); }
  [[nodiscard]] const tracee::Memory& memory() const { return *memory_; }
  [[nodiscard]] arch::Registers registers() const { return arch::get_registers(pid()); }
  void set_registers(arch::Registers registers) const;

  /// Runs to the next system call, which is not made, or to a signal, which is not delivered.
  Stop run() const;
  Stop step() const;
  /// The same as run(), as long as `go_on` says so, which is asked every few milliseconds.
  Stop run_while(const std::function<bool()>& go_on) const;
  /// Runs for that much CPU time unless something stops it before.
  Stop run_for(std::uint64_t cpu_ns) const;
  [[nodiscard]] std::uint64_t cpu_ns() const;

  /// Has it make a system call. Its registers stay as they are.
  std::int64_t call(int number, std::initializer_list<std::uint64_t> arguments) const;

  /// A copy of it, which stands where it does.
  [[nodiscard]] Task copy() const;

 private:
  Task(tracee::Child process, Addr call_instruction);
  [[nodiscard]] Stop resume(int request) const;
  [[nodiscard]] Stop wait() const;
  [[nodiscard]] Stop run_ticking(long tick_us, const std::function<bool()>& go_on) const;

  tracee::Child process_;
  std::unique_ptr<tracee::Memory> memory_;
  Addr call_instruction_;
};

}  // namespace ckpt::replayer
