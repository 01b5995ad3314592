// Finds the position at which a thread was stopped between two events: by its program counter, on
// which there is a breakpoint, its registers, the top of its stack and all memory. The thread is
// let run for most of the CPU time that it took then, because a breakpoint is slow where it is
// passed often. Where that was too far, a copy of the task that was left behind tries again with
// less.
#include <array>
#include <chrono>

#include "base/error.hpp"
#include "replayer/place.hpp"
#include "replayer/position_jump.hpp"
#include "replayer/replay.hpp"

namespace ckpt::replayer {

namespace {

/// A breakpoint, as long as this lives.
class Breakpoint {
 public:
  Breakpoint(const tracee::Memory& memory, Addr at)
      : memory_(memory), at_(at), original_(memory.read_value<Bytes>(at)) {
    insert();
  }
  ~Breakpoint() {
    try {
      remove();
    } catch (const Error&) {  // the task is gone, and with it the breakpoint
    }
  }
  Breakpoint(const Breakpoint&) = delete;
  Breakpoint& operator=(const Breakpoint&) = delete;
  void insert() const { memory_.write(at_, arch::kBreakpointInstruction); }
  void remove() const { memory_.write(at_, original_); }

 private:
  using Bytes = std::array<std::byte, arch::kBreakpointInstruction.size()>;
  const tracee::Memory& memory_;
  Addr at_;
  Bytes original_;
};

}  // namespace

bool Replay::search() {
  constexpr std::array kShares = {0.92, 0.8, 0.6, 0.3, 0.0};
  const Place wanted(*event_);
  Task behind = task_.copy();
  if (search_by_stub(wanted)) return true;
  for (const double share : kShares) {
    task_ = std::move(behind);
    behind = task_.copy();
    const double cpu_ns = static_cast<double>(event_->cpu_ns) * share;
    if (search_behind(wanted, static_cast<std::uint64_t>(cpu_ns))) return true;
  }
  return false;
}

// The program jumps to code that compares its registers, and stops when they are right.
bool Replay::search_by_stub(Place wanted) {
  // The stub makes a short loop several times slower.
  constexpr std::uint64_t kSlower = 20;
  constexpr std::uint64_t kAnyTime = 2'000'000'000;  // nanoseconds
  const Addr from = wanted.pc();
  if (!step_out_of(task_, from, from + PositionJump::room(task_, from).value_or(0))) return false;
  if (wanted.is_place_of(task_)) return true;
  const auto jump = PositionJump::put(task_, wanted.registers());
  if (!jump) return false;
  wanted.ignore(jump->window());
  const std::uint64_t end = task_.cpu_ns() + kSlower * event_->cpu_ns + kAnyTime;
  while (task_.cpu_ns() < end) {
    const Stop stop = task_.run_for(end - task_.cpu_ns());
    const auto found = jump->hit(task_.registers());
    if (stop.kind != Stop::Kind::signal || stop.signal != SIGTRAP || !found) return false;
    jump->take_out();
    if (wanted.is_place_of(task_, *found)) {
      task_.set_registers(*found);
      return jump->remove();
    }
    jump->put_back();
  }
  return false;
}

// False if the thread has come to something else: the next event, or no end.
bool Replay::search_behind(const Place& place, std::uint64_t cpu_ns) {
  constexpr std::chrono::minutes kMostTime{2};
  const auto begin = std::chrono::steady_clock::now();
  if (cpu_ns != 0 && task_.run_for(cpu_ns).kind != Stop::Kind::interrupted) return false;
  const Addr wanted = place.pc();
  const Breakpoint breakpoint(task_.memory(), wanted);
  while (std::chrono::steady_clock::now() - begin < kMostTime) {
    auto registers = task_.registers();
    if (registers.pc() == wanted) {
      breakpoint.remove();
      if (place.is_place_of(task_, registers)) return true;
      const Stop stepped = task_.step();
      breakpoint.insert();
      if (stepped.kind != Stop::Kind::signal || stepped.signal != SIGTRAP) return false;
      if (task_.registers().pc() == wanted) continue;
    }
    const Stop stop = task_.run();
    registers = task_.registers();
    if (stop.kind != Stop::Kind::signal || stop.signal != SIGTRAP ||
        registers.pc() != wanted + arch::kBreakpointInstruction.size())
      return false;
    registers.set_pc(wanted);
    task_.set_registers(registers);
  }
  return false;
}

}  // namespace ckpt::replayer
