// Going back: forwards again from a copy that was left behind.
#include <algorithm>
#include <array>

#include "base/error.hpp"
#include "timeline/timeline.hpp"

namespace ckpt::timeline {

using recording::EventKind;
using Kind = Halt::Kind;
using Replay = std::shared_ptr<const replayer::Replay>;

namespace {

// So many steps are made before a nearer copy is looked for.
constexpr std::uint64_t kFewSteps = 2000;
// What stepping over can be waited for.
constexpr std::uint64_t kMostSteps = 5'000'000;
constexpr int kMostVisits = 300;
constexpr std::size_t kMostAnchors = 12;

bool same_place(const replayer::Replay& one, const replayer::Replay& other) {
  return one.events() == other.events() && Place(one.task()).is_place_of(other.task());
}

void give_up_if(bool interrupted) {
  if (interrupted) fail(ErrorKind::interrupted, "interrupted");
}

[[noreturn]] void not_found() {
  fail(ErrorKind::refused, "the replay does not come to the same place again");
}

}  // namespace

// -- to the last stop --

Halt Timeline::search_back(const State& from) {
  Replay upper;  // from there on everything was searched
  const auto try_from = [&](const Replay& begin) -> std::optional<Halt> {
    const auto& end = upper ? *upper : from.replay;
    if (same_place(*begin, end)) return std::nullopt;
    const auto halt = search_between(begin, end, upper != nullptr);
    if (!halt) upper = begin;
    return halt;
  };
  for (std::size_t left = from.path.size(); left-- > 0;)
    if (const auto halt = try_from(from.path[left].replay)) return *halt;
  for (std::uint64_t events = from.replay.events();;) {
    const Replay begin = checkpoints_.before(events).replay;
    if (const auto halt = try_from(begin)) return *halt;
    if (begin->events() == 0) break;
    events = begin->events() - 1;
  }
  restore_before(0);
  return Halt{Kind::begin};
}

// The last stop from `begin` on and before `end`, or at it if `at_end`. At an interruption the
// position is `end`.
std::optional<Halt> Timeline::search_between(const Replay& begin, const replayer::Replay& end,
                                             bool at_end) {
  const Place place(end.task());
  const Goal goal{.events = end.events(), .place = &place};
  restore(begin);
  int stops = 0;
  std::uint64_t last_access = 0;
  for (Halt halt = advance(goal); halt.kind != Kind::reached; halt = advance(goal)) {
    if (halt.kind == Kind::interrupted) {
      state_ = {end.copy(), {}, std::nullopt};
      settle();
      return halt;
    }
    if (halt.kind == Kind::end || halt.kind == Kind::ended) not_found();
    ++stops;
    last_access = accesses_;
  }
  if (state_.replay.events() != end.events()) not_found();
  if (at_end)
    if (const auto stop = stop_here()) return stop;
  if (touched_) {
    ++stops;
    last_access = accesses_;
  }
  if (stops == 0) return std::nullopt;
  restore(begin);
  anchored_access_ = last_access;
  Halt halt;
  while (stops-- > 0) halt = advance(goal);
  anchored_access_ = 0;
  return before_touch(halt);
}

// From behind what has touched watched memory to in front of it.
Halt Timeline::before_touch(const Halt& stop) {
  if (!touched_) return stop;
  if (stop.kind == Kind::watch)
    if (const auto here = stop_here()) return *here;
  const Halt before{Kind::watch, 0, *touched_};
  State from = std::move(state_);
  go_back_one(from, std::nullopt);
  return before;
}

// -- one instruction --

// False at the begin. Without a thread: of the one that has come last.
bool Timeline::go_back_one(State& from, std::optional<std::uint32_t> thread) {
  const auto& replay = from.replay;
  drop_anchors_here(from);
  const bool at_event = from.path.empty() && from.steps == 0;
  if (replay.current() == thread.value_or(replay.current()) && !at_event) {
    go_back_within({replay.copy(), from.path, from.steps});
    return true;
  }
  std::optional<std::uint64_t> any;
  for (std::uint64_t index = replay.events(); index-- > 0;) {
    const auto event = history_.event(index);
    if (event->kind == EventKind::leave) continue;
    if (!any) any = index;
    if (event->thread == thread.value_or(event->thread)) return go_before_event(index);
  }
  if (any) return go_before_event(*any);
  restore_before(0);
  return false;
}

// To the last position before the event.
bool Timeline::go_before_event(std::uint64_t index) {
  restore_before(index);
  if (state_.replay.events() < index)
    give_up_if(advance({.stops = false, .events = index}).kind == Kind::interrupted);
  if (state_.replay.events() != index) not_found();
  if (at_hand() != AtHand::nothing) return true;
  const auto event = next_;
  if (event->kind == EventKind::preemption) {
    const Place place(*event);
    give_up_if(advance({.stops = false, .events = index, .place = &place}).kind ==
               Kind::interrupted);
    go_back_within({state_.replay.copy(), state_.path, state_.steps});
    return true;
  }
  Goal goal{.stops = false, .events = index};
  if (event->kind == EventKind::call || event->kind == EventKind::enter)
    goal.pc = event->at.pc() - arch::kSyscallBytes;
  else if (event->kind == EventKind::instruction)
    goal.pc = event->at.pc() - arch::kBreakpointInstruction.size();
  else
    goal.at_event = true;
  if (at_goal(goal)) return true;
  give_up_if(advance(goal).kind == Kind::interrupted);
  if (state_.replay.events() != index) not_found();
  return true;
}

// Without anchors at the position itself, by which nothing comes before it.
void Timeline::drop_anchors_here(State& from) {
  while (from.steps == 0 && !from.path.empty()) {
    from.steps = from.path.back().steps;
    from.path.pop_back();
  }
}

// `from` is not where its event has left it.
void Timeline::go_back_within(State from) {
  drop_anchors_here(from);
  const std::uint64_t steps = from.steps ? *from.steps : locate(from);
  if (steps == 0) not_found();
  const auto path = from.path;
  if (path.empty()) {
    restore_before(from.replay.events());
    if (state_.replay.events() < from.replay.events())
      give_up_if(advance({.stops = false, .events = from.replay.events()}).kind ==
                 Kind::interrupted);
  } else {
    restore(path.back().replay);
    state_.path = path;
  }
  state_.steps = 0;
  step_on(steps - 1);
}

// How many steps it is from the last anchor, which is made near enough.
std::uint64_t Timeline::locate(State& from) {
  const Place place(from.replay.task());
  if (from.path.empty()) {
    restore_before(from.replay.events());
    if (state_.replay.events() < from.replay.events())
      give_up_if(advance({.stops = false, .events = from.replay.events()}).kind ==
                 Kind::interrupted);
    from.path.push_back({std::make_shared<replayer::Replay>(state_.replay.copy()), 0});
  }
  bool nearer = true;
  for (;;) {
    restore(from.path.back().replay);
    if (const auto steps = count_steps(place, nearer ? kFewSteps : kMostSteps)) return *steps;
    if (!nearer) not_found();
    nearer = add_visit(from, place) || add_by_count(from, place) || add_by_time(from, place);
  }
}

std::optional<std::uint64_t> Timeline::count_steps(const Place& place, std::uint64_t most) {
  const auto& task = state_.replay.task();
  for (std::uint64_t steps = 0; steps < most; ++steps) {
    const auto registers = task.registers();
    if (registers.pc() == place.pc() && place.is_place_of(task)) return steps;
    constexpr std::uint64_t kNowAndThen = 1000;
    if (steps % kNowAndThen == 0) give_up_if(interrupted_());
    if (!step_from(registers)) not_found();
  }
  return std::nullopt;
}

// An anchor where the thread comes by the same instruction for the last time before.
bool Timeline::add_visit(State& from, const Place& place) {
  const Goal goal{
      .stops = false, .events = from.replay.events(), .place = &place, .pc = place.pc()};
  const auto visit = [&] {
    give_up_if(advance(goal).kind == Kind::interrupted);
    if (state_.replay.events() != goal.events) not_found();
    return !place.is_place_of(state_.replay.task());
  };
  restore(from.path.back().replay);
  int visits = 0;
  while (visits <= kMostVisits && visit()) ++visits;
  if (visits == 0 || visits > kMostVisits) return false;
  restore(from.path.back().replay);
  while (visits-- > 0) visit();
  from.path.push_back({std::make_shared<replayer::Replay>(state_.replay.copy()), std::nullopt});
  return true;
}

// An anchor where the loop in which the last one is comes by for the last time.
bool Timeline::add_by_count(State& from, const Place& place) {
  try {
    const auto at = loop_ahead(from, place);
    if (!at) return false;
    const std::uint64_t passes = count_passes(from, place, *at);
    if (passes < 2 || !go_to_pass(from, *at, passes)) return false;
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::interrupted) throw;
    // The program may have jumped into the midst of what was replaced.
    return false;
  }
  from.path.push_back({std::make_shared<replayer::Replay>(state_.replay.copy()), std::nullopt});
  return true;
}

// The instruction that is passed most often within the next steps, if a jump can take its place.
std::optional<Addr> Timeline::loop_ahead(const State& from, const Place& place) {
  constexpr std::uint64_t kLongestInstruction = 15;
  constexpr int kLeastPasses = 4;
  restore(from.path.back().replay);
  const auto& task = state_.replay.task();
  std::map<Addr, int> passes;
  std::set<Addr> landed;
  Addr last{};
  for (std::uint64_t steps = 0; steps < kFewSteps; ++steps) {
    const auto registers = task.registers();
    ++passes[registers.pc()];
    if (registers.pc() < last || registers.pc() > last + kLongestInstruction)
      landed.insert(registers.pc());
    last = registers.pc();
    if (!step_from(registers)) break;
  }
  std::optional<Addr> best;
  for (const auto& [at, count] : passes) {
    const auto room = replayer::PositionJump::room(task, at);
    if (!room || count < kLeastPasses || (best && passes.at(*best) >= count)) continue;
    const auto within = landed.upper_bound(at);
    const bool is_entered = within != landed.end() && *within < at + *room;
    if (!is_entered && !(place.pc() >= at && place.pc() < at + *room)) best = at;
  }
  return best;
}

// How often the task comes by `at` on its way to the place.
std::uint64_t Timeline::count_passes(const State& from, const Place& place, Addr at) {
  constexpr std::uint64_t kNever = ~0ULL >> 1U;
  restore(from.path.back().replay);
  const auto& task = state_.replay.task();
  const std::size_t room = replayer::PositionJump::room(task, at).value_or(0);
  if (!replayer::step_out_of(task, at, at + room)) return 0;
  const auto counter = replayer::PositionJump::put_counter(task, at, kNever);
  if (!counter) return 0;
  Place wanted = place;
  wanted.ignore(counter->window());
  const Goal goal{.stops = false, .events = from.replay.events(), .place = &wanted};
  give_up_if(advance(goal).kind == Kind::interrupted);
  if (state_.replay.events() != goal.events) not_found();
  return kNever - counter->passes_left();
}

bool Timeline::go_to_pass(const State& from, Addr at, std::uint64_t passes) {
  restore(from.path.back().replay);
  const auto& task = state_.replay.task();
  const std::size_t room = replayer::PositionJump::room(task, at).value_or(0);
  if (!replayer::step_out_of(task, at, at + room)) return false;
  const auto counter = replayer::PositionJump::put_counter(task, at, passes);
  if (!counter) return false;
  run_with_jump(*counter, {});
  return task.registers().pc() == at;
}

// An anchor after most of the CPU time that it takes to get there.
bool Timeline::add_by_time(State& from, const Place& place) {
  constexpr std::array kShares = {0.9, 0.7, 0.4, 0.0};
  constexpr std::uint64_t kLeast = 10'000;  // nanoseconds
  const Goal goal{.stops = false, .events = from.replay.events(), .place = &place};
  const auto is_ahead = [&] {
    give_up_if(advance(goal).kind == Kind::interrupted);
    return state_.replay.events() == goal.events;
  };
  restore(from.path.back().replay);
  const std::uint64_t begin_ns = state_.replay.task().cpu_ns();
  if (!is_ahead()) not_found();
  const std::uint64_t all_ns = state_.replay.task().cpu_ns() - begin_ns;
  if (all_ns < kLeast) return false;
  for (const double share : kShares) {
    restore(from.path.back().replay);
    const auto stop = state_.replay.task().run_for(
        static_cast<std::uint64_t>(static_cast<double>(all_ns) * share));
    if (stop.kind != replayer::Stop::Kind::interrupted) continue;
    classify(stop, false, {});
    if (state_.replay.events() != goal.events) continue;
    const auto found = std::make_shared<replayer::Replay>(state_.replay.copy());
    if (place.is_place_of(found->task()) || !is_ahead()) continue;
    from.path.push_back({found, std::nullopt});
    return true;
  }
  return false;
}

// Leaves anchors, fewer the farther they are from the last step.
void Timeline::step_on(std::uint64_t steps) {
  constexpr std::array<std::uint64_t, 4> kAnchorsAt = {1000, 250, 60, 15};
  for (std::uint64_t left = steps; left > 0; --left) {
    if (left != steps && std::find(kAnchorsAt.begin(), kAnchorsAt.end(), left) != kAnchorsAt.end())
      leave_anchor();
    step_once();
  }
}

void Timeline::leave_anchor() {
  auto& path = state_.path;
  path.push_back({std::make_shared<replayer::Replay>(state_.replay.copy()), state_.steps});
  state_.steps = 0;
  if (path.size() <= kMostAnchors) return;
  const auto dropped = path.begin() + 1;
  const auto after = dropped + 1;
  after->steps = after->steps && dropped->steps ? std::optional(*after->steps + *dropped->steps)
                                                : std::nullopt;
  path.erase(dropped);
}

}  // namespace ckpt::timeline
