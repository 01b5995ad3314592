// Finds the position at which a thread was stopped between two events: by its program counter, on
// which there is a breakpoint, its registers, the top of its stack and all memory. The thread is
// let run for most of the CPU time that it took then, because a breakpoint is slow where it is
// passed often. Where that was too far, a copy of the task that was left behind tries again with
// less.
#include <sys/mman.h>

#include <array>
#include <chrono>
#include <optional>

#include "arch/position_stub.hpp"
#include "base/error.hpp"
#include "proc/process_dir.hpp"
#include "recording/memory_digest.hpp"
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

constexpr std::size_t kLookedAt = 40;  // bytes of code from the program counter on

// An address near `from` at which nothing is mapped, nor in the window of digests around it; 0 if
// there is none.
Addr free_window(Tid pid, Addr from) {
  constexpr std::uint64_t kNear = 1ULL << 30U;
  constexpr std::uint64_t kNeeded = 2 * recording::kWindowBytes;
  Addr end{};
  for (const auto& mapping : proc::ProcessDir(pid).mappings()) {
    const Addr window{(end.value / recording::kWindowBytes + 1) * recording::kWindowBytes};
    const bool is_near = (window > from ? window - from : from - window) < kNear;
    if (is_near && mapping.start > end && mapping.start > window + kNeeded) return window;
    end = mapping.end;
  }
  return {};
}

}  // namespace

bool Replay::is_at_position(const arch::Registers& registers, Addr stub) const {
  if (arch::first_difference(event_.at, registers, false)) return false;
  if (recording::digest_stack(task_.memory(), registers.sp()) != event_.stack_digest) return false;
  if (event_.memory.empty()) return true;
  auto memory = recording::digest_memory(task_.pid(), task_.memory());
  std::erase_if(memory, [&](const recording::WindowDigest& one) { return one.window == stub; });
  return memory == event_.memory;
}

bool Replay::search() {
  constexpr std::array<double, 5> kShares = {0.92, 0.8, 0.6, 0.3, 0};
  Task behind = task_.copy();
  if (search_by_stub()) return true;
  for (const double share : kShares) {
    task_ = std::move(behind);
    behind = task_.copy();
    if (search_behind(static_cast<std::uint64_t>(static_cast<double>(event_.cpu_ns) * share)))
      return true;
  }
  return false;
}

// Where a jump is to be put over several instructions, the thread may stand on one of them.
bool Replay::step_out_of(Addr start, Addr end) const {
  for (Addr pc = task_.registers().pc(); pc > start && pc < end; pc = task_.registers().pc()) {
    const Stop stop = task_.step();
    if (stop.kind != Stop::Kind::signal || stop.signal != SIGTRAP) return false;
  }
  return true;
}

// The program jumps to code that compares its registers, and stops when they are right.
bool Replay::search_by_stub() {
  // The stub makes a short loop several times slower.
  constexpr std::uint64_t kSlower = 20;
  constexpr std::uint64_t kAnyTime = 2'000'000'000;  // nanoseconds
  const Addr from = event_.at.pc();
  std::array<std::byte, kLookedAt> code{};
  task_.memory().read_some(from, code);
  if (!step_out_of(from, from + arch::room_for_stub(code).value_or(0))) return false;
  if (task_.registers().pc() == from && is_at_position(task_.registers(), Addr{})) return true;
  const Addr at = free_window(task_.pid(), from);
  const auto stub = arch::position_stub(code, from, at, event_.at);
  if (!at || !stub) return false;
  constexpr std::uint64_t kProtection = PROT_READ | PROT_WRITE | PROT_EXEC;
  constexpr std::uint64_t kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  const std::uint64_t size_bytes = page_up(stub->bytes.size());
  const auto numbers = arch::memory_calls();
  if (task_.call(numbers.mmap, {at.value, size_bytes, kProtection, kFlags, ~0ULL, 0}) < 0)
    return false;
  task_.memory().write(at, stub->bytes);
  task_.memory().write(from, stub->jump);
  const std::uint64_t end = task_.cpu_ns() + kSlower * event_.cpu_ns + kAnyTime;
  while (task_.cpu_ns() < end) {
    const Stop stop = task_.run_for(end - task_.cpu_ns());
    const auto registers = task_.registers();
    if (stop.kind != Stop::Kind::signal || stop.signal != SIGTRAP ||
        registers.pc() != stub->behind_hit)
      return false;
    std::array<std::byte, arch::kStubKeptBytes> kept{};
    task_.memory().read(at, kept);
    const auto found = arch::registers_at_position(registers, kept, from);
    task_.memory().write(from, std::span(code).first(stub->jump.size()));
    if (is_at_position(found, at)) {
      task_.set_registers(found);
      return task_.call(numbers.munmap, {at.value, size_bytes}) == 0;
    }
    task_.memory().write(from, stub->jump);
  }
  return false;
}

// False if the thread has come to something else: the next event, or no end.
bool Replay::search_behind(std::uint64_t cpu_ns) {
  constexpr std::chrono::minutes kMostTime{2};
  const auto begin = std::chrono::steady_clock::now();
  if (cpu_ns != 0 && task_.run_for(cpu_ns).kind != Stop::Kind::interrupted) return false;
  const Addr wanted = event_.at.pc();
  const Breakpoint breakpoint(task_.memory(), wanted);
  while (std::chrono::steady_clock::now() - begin < kMostTime) {
    auto registers = task_.registers();
    if (registers.pc() == wanted) {
      breakpoint.remove();
      if (is_at_position(registers, Addr{})) return true;
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
