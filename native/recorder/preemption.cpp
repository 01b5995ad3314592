// Where a thread is stopped that has run for too long. A replay looks for the place by the program
// counter, so one that is passed seldom is found sooner: the thread is stepped on to an instruction
// that it has not come by for a while. A thread that spins comes by the same ones again and again;
// then any of them will do, since each pass is like the others.
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <set>

#include "arch/instructions.hpp"
#include "arch/position_stub.hpp"
#include "base/error.hpp"
#include "recorder/session.hpp"
#include "recording/memory_digest.hpp"

namespace ckpt::recorder {

namespace {

// So many steps are watched; then a place is taken that is new, then one at which registers have
// changed since it was passed before, then any for which the replay's fast way will do, then any.
constexpr int kWatchedSteps = 400;
constexpr int kNewUntil = 800;
constexpr int kChangedUntil = 900;
constexpr int kMovableUntil = 1000;
constexpr int kMostSteps = 2000;
constexpr std::size_t kLookedAt = 40;  // bytes from the program counter on

using Code = std::array<std::byte, kLookedAt>;

Code code_at(const tracee::Memory& memory, Addr at) {
  Code code{};
  memory.read_some(at, code);
  return code;
}

bool makes_call(const Code& code) {
  return std::equal(arch::kSyscallInstruction.begin(), arch::kSyscallInstruction.end(),
                    code.begin());
}

// Where the thread has come by.
class Path {
 public:
  void add(const arch::Registers& registers, const Code& code) {
    const Addr pc = registers.pc();
    if (pc != expected_) landed_.insert(pc);
    const auto instruction = arch::decode(code);
    expected_ = instruction ? pc + instruction->length : Addr{};
    seen_.insert_or_assign(pc, registers);
  }

  [[nodiscard]] bool is_good(const arch::Registers& registers, const Code& code, int steps) const {
    if (steps < kWatchedSteps) return false;
    if (steps >= kMovableUntil) return true;
    if (!has_room(registers.pc(), code)) return false;
    const auto before = seen_.find(registers.pc());
    if (before == seen_.end()) return true;
    if (steps < kNewUntil) return false;
    return steps >= kChangedUntil ||
           arch::first_difference(before->second, registers, false).has_value();
  }

 private:
  // A replay puts a jump there. Nothing may lead into the midst of what it covers.
  [[nodiscard]] bool has_room(Addr pc, const Code& code) const {
    const auto bytes = arch::room_for_stub(code);
    if (!bytes) return false;
    const auto inside = landed_.upper_bound(pc);
    return inside == landed_.end() || *inside >= pc + *bytes;
  }

  std::map<Addr, arch::Registers> seen_;
  std::set<Addr> landed_;  // reached by a jump, or not known to be reached without
  Addr expected_;          // where the last step ends without a jump
};

}  // namespace

// False if it has stopped for something else.
bool Session::step(Thread& thread) {
  if (::ptrace(PTRACE_SINGLESTEP, thread.tid, nullptr, nullptr) == -1)
    throw_errno(fmt::format("thread {}: ptrace(SINGLESTEP)", thread.tid), errno);
  const int status = wait_for(thread);
  if (status == (SIGTRAP << 8U | 0x7f)) return true;
  thread.status = status;
  return false;
}

bool Session::reach_position(Thread& thread) {
  // A tick would stop it once more meanwhile.
  interrupted_ = true;
  const bool reached = step_to_position(thread);
  interrupted_ = false;
  if (!reached) return false;
  note_position(thread);
  return true;
}

// False if the thread goes on and is to be stopped later: an event is near, or there is no place
// that can be named.
bool Session::step_to_position(Thread& thread) {
  Path path;
  for (int steps = 0; steps < kMostSteps; ++steps) {
    const auto registers = arch::get_registers(thread.tid);
    const Code code = code_at(memory_, registers.pc());
    if (makes_call(code) || sites_.has(registers.pc()) || arch::shows_stepping(code)) return false;
    // In the midst of a repeating instruction the program counter is on it as at its begin.
    if (path.is_good(registers, code, steps) && !arch::is_repeating(code)) return true;
    path.add(registers, code);
    if (!step(thread)) return false;
  }
  return false;
}

void Session::note_position(Thread& thread) {
  auto event = event_of(thread, recording::EventKind::preemption);
  auto registers = arch::get_registers(thread.tid);
  arch::clear_traces_of_stepping(registers);
  event.at = registers;
  event.cpu_ns = recording::process_cpu_ns(process_.pid()) - thread.cpu_begin_ns;
  event.stack_digest = recording::digest_stack(memory_, registers.sp());
  event.memory = recording::digest_memory(process_.pid(), memory_);
  log(std::move(event));
  ++outcome_.preemptions;
  thread.leave_at(registers, true);
}

}  // namespace ckpt::recorder
