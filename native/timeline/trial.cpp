#include "timeline/trial.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "arch/syscall_rules.hpp"
#include "recording/marks.hpp"

namespace ckpt::timeline {

using Kind = Halt::Kind;
using replayer::Stop;

void Trial::write(Addr at, std::span<const std::byte> bytes) {
  replay_.task().memory().write(at, bytes);
  written_ = true;
}

Halt Trial::run(const Surroundings& around) {
  const auto& task = replay_.task();
  for (;;) {
    Stop stop;
    // From one that it stands at it goes on.
    if (around.breakpoints.has(task.registers().pc())) {
      stop = task.step();
    } else {
      const Breakpoints::Inserted inserted(task, around.breakpoints.places());
      stop = task.run_while([&] { return !around.interrupted(); });
    }
    if (const auto halt = pass(stop, around)) return *halt;
    if (around.breakpoints.stop(task)) return Halt{Kind::breakpoint};
    if (around.interrupted()) return Halt{Kind::interrupted};
  }
}

Halt Trial::step(const Surroundings& around) {
  const auto halt = pass(replay_.task().step(), around);
  return halt.value_or(Halt{Kind::step});
}

// Nothing where it may go on.
std::optional<Halt> Trial::pass(const Stop& stop, const Surroundings& around) {
  if (stop.kind == Stop::Kind::interrupted) return Halt{Kind::interrupted};
  if (stop.kind == Stop::Kind::call) {
    if (answer_call(around)) return std::nullopt;
    return Halt{Kind::signal, SIGSYS};
  }
  // Where a called function returns to, GDB has a breakpoint, which may be where nothing can run.
  if (stop.signal == SIGSEGV && around.breakpoints.stop(replay_.task()))
    return Halt{Kind::breakpoint};
  if (stop.signal != SIGTRAP) return Halt{Kind::signal, stop.signal};
  if (execute_recorded_instruction()) return std::nullopt;
  auto registers = replay_.task().registers();
  const Addr hit = registers.pc() - arch::kBreakpointInstruction.size();
  if (!around.breakpoints.has(hit)) return std::nullopt;
  registers.set_pc(hit);
  replay_.task().set_registers(registers);
  return std::nullopt;
}

bool Trial::answer_call(const Surroundings& around) {
  const auto result = result_of_call(around);
  if (!result) return false;
  const auto& task = replay_.task();
  task.set_registers(arch::after_call(task.registers(), *result));
  return true;
}

std::optional<std::int64_t> Trial::result_of_call(const Surroundings& around) {
  const auto& task = replay_.task();
  const auto registers = task.registers();
  const auto* rule = arch::syscall_rule(registers.syscall_number());
  if (rule == nullptr) return -ENOSYS;
  const auto arg = [&](std::size_t n) { return std::uint64_t{registers.arg(n)}; };
  switch (rule->handling) {
    case arch::Handling::end_thread:
    case arch::Handling::end_process: return std::nullopt;
    case arch::Handling::memory:
      // There are no files.
      if (rule->special == arch::Special::mmap && (arg(3) & MAP_ANONYMOUS) == 0) return -ENODEV;
      return task.call(rule->number, {arg(0), arg(1), arg(2), arg(3), arg(4), arg(5)});
    default: break;
  }
  recording::Event event;
  event.number = rule->number;
  event.at = registers;
  event.result = static_cast<std::int64_t>(arg(2));
  const auto fd = static_cast<int>(arg(0));
  if (rule->name == "write" && (fd == STDOUT_FILENO || fd == STDERR_FILENO)) {
    around.show(recording::read_output(event, task.memory()));
    return event.result;
  }
  return -ENOSYS;
}

bool Trial::execute_recorded_instruction() {
  const auto& task = replay_.task();
  auto registers = task.registers();
  const auto* site = replay_.sites().hit(registers.pc());
  if (site == nullptr) return false;
  registers.set_pc(site->at);
  arch::execute_unpredictable(*site, registers);
  task.set_registers(registers);
  return true;
}

}  // namespace ckpt::timeline
