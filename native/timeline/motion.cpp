// How the task is moved: a step, or a run to the next breakpoint or event. Breakpoints are in its
// memory only while it runs.
#include <array>
#include <csignal>
#include <map>

#include "arch/instructions.hpp"
#include "arch/syscall_rules.hpp"
#include "base/error.hpp"
#include "timeline/timeline.hpp"

namespace ckpt::timeline {

using recording::EventKind;
using replayer::PositionJump;
using replayer::Stop;

namespace {

// Passes of a place by a breakpoint before it gets a jump, which takes longer to make.
constexpr int kManyHits = 50;

using InstructionBytes = std::array<std::byte, 16>;

InstructionBytes instruction_at(const replayer::Task& task, Addr at) {
  InstructionBytes code{};
  task.memory().read_some(at, code);
  return code;
}

// The flags that a step has shown to the program.
void hide_stepping(const replayer::Task& task) {
  std::array<std::byte, arch::kPushedFlagsBytes> flags{};
  const Addr at = task.registers().sp();
  task.memory().read(at, flags);
  arch::clear_pushed_stepping(flags);
  task.memory().write(at, flags);
}

bool is_trap(const Stop& stop) { return stop.kind == Stop::Kind::signal && stop.signal == SIGTRAP; }

bool is_fault(const recording::Event& event) {
  return event.place == recording::SignalPlace::fault &&
         (event.kind == EventKind::signal || event.kind == EventKind::end);
}

}  // namespace

std::optional<Halt> Timeline::move(const Goal& goal) {
  const AtHand hand = at_hand();
  if (hand == AtHand::end || (hand == AtHand::signal && next_->kind == EventKind::end))
    return Halt{Halt::Kind::ended, hand == AtHand::signal ? static_cast<int>(next_->number) : 0};
  auto& replay = state_.replay;
  if (hand == AtHand::signal) {
    replay.deliver(*next_);
    on_event();
    return std::nullopt;
  }
  const bool only_for_event = goal.events > replay.events() || goal.place == nullptr;
  const bool is_watched =
      goal.step || goal.pc || (goal.stops && !breakpoints_.empty()) || watching_;
  if (preemption_ && only_for_event && !is_watched && !goal.at_event) {
    replay.apply(*next_);
    on_event();
    return std::nullopt;
  }
  const auto places = targets(goal);
  const bool on_one = places.contains(replay.task().registers().pc());
  if (on_one) ++hits_;
  const Place* place = sought(goal);
  if (!goal.step && may_jump_ && place != nullptr && hits_ > kManyHits &&
      run_by_jump(*place, places))
    return std::nullopt;
  const bool on_sought =
      on_one && place != nullptr && place->pc() == replay.task().registers().pc();
  if (goal.step || on_sought)
    step_once();
  else if (on_one)
    run_past_repeating();
  else
    run_on(places);
  return std::nullopt;
}

const Place* Timeline::sought(const Goal& goal) const {
  if (goal.place != nullptr && goal.events == state_.replay.events()) return goal.place;
  return preemption_ ? &*preemption_ : nullptr;
}

std::set<Addr> Timeline::targets(const Goal& goal) const {
  std::set<Addr> all;
  if (goal.stops) all = breakpoints_.places();
  if (const Place* place = sought(goal)) all.insert(place->pc());
  if (goal.pc && goal.events == state_.replay.events()) all.insert(*goal.pc);
  const bool is_end =
      next_->kind == EventKind::end && next_->reason != recording::EndReason::signal;
  // Not within the call: the program is to be seen in front of it.
  if (is_end || next_->place == recording::SignalPlace::at_call)
    all.insert(next_->at.pc() - arch::kSyscallBytes);
  return all;
}

void Timeline::step_once() {
  const auto& task = state_.replay.task();
  if (watching_)
    if (const auto access = watches_.find_access(task)) touched_ = access;
  step_from(task.registers());
}

// It has come to memory that is watched, or to what lies on the same page.
void Timeline::pass_access() {
  if (++accesses_ == anchored_access_) leave_anchor();
  step_once();
}

// False if it has come to an event. Asks little of the kernel: many steps are made.
bool Timeline::step_from(const arch::Registers& registers) {
  auto& task = state_.replay.task();
  const bool shows = shows_stepping_at(registers.pc());
  Stop stop = task.step();
  // It was asked to stop before, and does so now.
  while (stop.kind == Stop::Kind::interrupted) stop = task.step();
  if (is_trap(stop) && shows) hide_stepping(task);
  if (state_.steps) ++*state_.steps;
  if (is_trap(stop) && next_->kind != EventKind::instruction) return true;
  const std::uint64_t events = state_.replay.events();
  classify(stop, true, {});
  return state_.replay.events() == events && is_trap(stop);
}

bool Timeline::shows_stepping_at(Addr at) {
  const auto [found, is_new] = shows_stepping_.try_emplace(at, false);
  if (is_new) found->second = arch::shows_stepping(instruction_at(state_.replay.task(), at));
  return found->second;
}

// From a breakpoint. A repeating instruction is passed as a whole, where a step takes one round.
void Timeline::run_past_repeating() {
  const auto& task = state_.replay.task();
  const Addr pc = task.registers().pc();
  const auto code = instruction_at(task, pc);
  const auto instruction = arch::decode(code);
  if (arch::is_repeating(code) && instruction)
    run_on({pc + instruction->length});
  else
    step_once();
}

// With breakpoints there, and kept from what is watched.
Timeline::TaskStop Timeline::run_task(const std::set<Addr>& breakpoints) {
  const auto& task = state_.replay.task();
  const Breakpoints::Inserted inserted(task, breakpoints);
  std::optional<Watches::Guard> guard;
  if (watching_) guard.emplace(task, watches_);
  state_.steps.reset();
  const Stop stop = task.run_while([this] { return !interrupted_(); });
  return {stop, guard && guard->has_caused(stop)};
}

void Timeline::run_on(const std::set<Addr>& targets) {
  const auto [stop, by_guard] = run_task(targets);
  if (by_guard) return pass_access();
  classify(stop, false, targets);
}

// False if the place is to be looked for by a breakpoint.
bool Timeline::run_by_jump(const Place& place, std::set<Addr> targets) {
  const auto& task = state_.replay.task();
  const auto room = PositionJump::room(task, place.pc());
  if (!room || breakpoints_.has(place.pc())) return false;
  targets.erase(place.pc());
  const auto within = targets.lower_bound(place.pc());
  const Addr end = place.pc() + *room;
  const Addr pc = task.registers().pc();
  if (within != targets.end() && *within < end) return false;
  if (pc >= place.pc() && pc < end) {
    step_once();
    return true;
  }
  auto behind = state_.replay.copy();
  try {
    const auto jump = PositionJump::put(task, place.registers());
    if (!jump) return may_jump_ = false;
    run_with_jump(*jump, targets);
  } catch (const Error&) {
    // The program may have jumped into the midst of what is replaced.
    state_.replay = std::move(behind);
    may_jump_ = false;
  }
  return true;
}

void Timeline::run_with_jump(const PositionJump& jump, const std::set<Addr>& targets) {
  auto& task = state_.replay.task();
  auto [stop, by_guard] = run_task(targets);
  if (by_guard) leave_stub(jump);
  if (const auto found = jump.hit(task.registers())) {
    task.set_registers(*found);
    stop = {Stop::Kind::interrupted, 0};
  }
  while (jump.leads_to(task.registers().pc())) task.step();
  if (!jump.remove()) fail(ErrorKind::system, "a jump cannot be removed");
  if (by_guard) return pass_access();
  classify(stop, false, targets);
}

// The instruction that was stopped may be one that was moved: it is the same at its own place.
void Timeline::leave_stub(const PositionJump& jump) {
  const auto& task = state_.replay.task();
  auto registers = task.registers();
  const auto original = jump.original_of(registers.pc());
  if (!original) return;
  registers.set_pc(*original);
  task.set_registers(registers);
}

// What the stop was; takes the event that it was for.
void Timeline::classify(const Stop& stop, bool stepped, const std::set<Addr>& inserted) {
  auto& task = state_.replay.task();
  if (stop.kind == Stop::Kind::interrupted) {
    // In the midst of such an instruction no place could be told from the others.
    if (arch::is_repeating(instruction_at(task, task.registers().pc()))) run_past_repeating();
    return;
  }
  auto registers = task.registers();
  if (is_trap(stop)) {
    const Addr hit = registers.pc() - arch::kBreakpointInstruction.size();
    if (!stepped && inserted.contains(hit)) {
      registers.set_pc(hit);
      return task.set_registers(registers);
    }
    const bool is_recorded = next_->kind == EventKind::instruction &&
                             !arch::first_difference(next_->at, registers, false);
    if (stepped && !is_recorded) return;
  }
  if (stop.kind == Stop::Kind::signal && is_fault(*next_) && at_hand() == AtHand::signal &&
      next_->number == stop.signal)
    return;
  state_.replay.take(*next_, stop);
  on_event();
}

}  // namespace ckpt::timeline
