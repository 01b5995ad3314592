#include "timeline/timeline.hpp"

#include <csignal>
#include <utility>

#include "arch/syscall_rules.hpp"
#include "base/error.hpp"

namespace ckpt::timeline {

using recording::EndReason;
using recording::EventKind;
using recording::SignalPlace;
using Kind = Halt::Kind;

namespace {

constexpr std::chrono::milliseconds kBetweenCheckpoints{30};

/// True as long as this lives.
class Flag {
 public:
  explicit Flag(bool& flag) : flag_(flag) { flag_ = true; }
  ~Flag() { flag_ = false; }
  Flag(const Flag&) = delete;
  Flag& operator=(const Flag&) = delete;

 private:
  bool& flag_;
};

// Whether the thread stands at the event with these registers, and not only on the way to it.
bool is_at_event(const recording::Event& event, const arch::Registers& registers) {
  const bool by_call = event.kind == EventKind::end && event.reason != EndReason::signal;
  // Nothing runs up to it.
  if (!by_call && event.place == SignalPlace::boundary) return true;
  // Behind this instruction comes the call that was recorded: the kernel has changed registers.
  if (by_call || event.place == SignalPlace::at_call)
    return registers.pc() == event.at.pc() - arch::kSyscallBytes;
  return !arch::first_difference(event.at, registers, false);
}

bool is_memory_call(const recording::Event& event) {
  const auto* rule = arch::syscall_rule(static_cast<arch::Word>(event.number));
  const bool is_call = event.kind == EventKind::call || event.kind == EventKind::leave;
  return is_call && rule != nullptr && rule->handling == arch::Handling::memory;
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

Timeline::Timeline(const std::string& path, std::function<bool()> interrupted)
    : history_(path),
      interrupted_(std::move(interrupted)),
      state_{replayer::Replay(history_.start()), {}, 0} {
  settle();
  checkpoints_.add({std::make_shared<replayer::Replay>(state_.replay.copy()), 0});
}

void Timeline::on_event() {
  if (shows_ && show_ && next_ && recording::output_of(*next_))
    show_(recording::read_output(*next_, state_.replay.task().memory()));
  state_.path.clear();
  state_.steps = 0;
  hits_ = 0;
  may_jump_ = true;
  if (!next_ || is_memory_call(*next_)) watches_.forget_pages();
  shows_stepping_.clear();
}

bool Timeline::is_last() const { return !next_ || next_->kind == EventKind::end; }

// Takes what nothing has to run for.
void Timeline::settle() {
  for (;; on_event()) {
    auto& replay = state_.replay;
    preemption_.reset();
    next_.reset();
    if (replay.events() == history_.events()) return;
    next_ = history_.event(replay.events());
    if (next_->kind == EventKind::end && next_->reason == EndReason::killed) return;
    replay.switch_to(next_->thread);
    if (next_->kind == EventKind::preemption) preemption_.emplace(*next_);
    const bool is_there = preemption_ && preemption_->is_place_of(replay.task());
    if (next_->kind != EventKind::leave && !is_there) return;
    replay.take(*next_, std::nullopt);
  }
}

Timeline::AtHand Timeline::at_hand() const {
  if (!next_) return AtHand::end;
  const bool is_end = next_->kind == EventKind::end;
  if (is_end && next_->reason == EndReason::killed) return AtHand::end;
  if (!is_end && next_->kind != EventKind::signal) return AtHand::nothing;
  if (!is_at_event(*next_, state_.replay.task().registers())) return AtHand::nothing;
  return is_end && next_->reason != EndReason::signal ? AtHand::end : AtHand::signal;
}

std::optional<Halt> Timeline::signal_at_hand() const {
  if (at_hand() != AtHand::signal) return std::nullopt;
  return Halt{Kind::signal, static_cast<int>(next_->number)};
}

bool Timeline::at_goal(const Goal& goal) const {
  const auto& replay = state_.replay;
  if (!goal.between_events()) return replay.events() >= goal.events;
  if (replay.events() != goal.events) return replay.events() > goal.events;
  if (goal.pc && replay.task().registers().pc() == *goal.pc) return true;
  if (goal.at_event && at_hand() != AtHand::nothing) return true;
  return goal.place != nullptr && goal.place->is_place_of(replay.task());
}

// Why a user's motion ends here, whatever it is for.
std::optional<Halt> Timeline::stop_here() const {
  const AtHand hand = at_hand();
  if (hand == AtHand::end) return Halt{Kind::end};
  if (hand == AtHand::signal) {
    const int signal = static_cast<int>(next_->number);
    if (next_->kind == EventKind::end || !passed_.contains(signal))
      return Halt{Kind::signal, signal};
  }
  if (breakpoints_.stop(state_.replay.task())) return Halt{Kind::breakpoint};
  return std::nullopt;
}

std::optional<Halt> Timeline::arrival(const Goal& goal) const {
  if (at_goal(goal)) return Halt{Kind::reached};
  if (touched_) return Halt{Kind::watch, 0, *touched_};
  if (goal.stops) {
    if (const auto stop = stop_here()) return stop;
  } else if (at_hand() != AtHand::nothing && (!next_ || next_->kind == EventKind::end)) {
    return Halt{Kind::end};
  }
  if (goal.turn == state_.replay.current()) return Halt{Kind::reached};
  if (goal.step) return Halt{Kind::step};
  return interrupted_() ? std::optional(Halt{Kind::interrupted}) : std::nullopt;
}

Halt Timeline::advance(const Goal& goal) {
  begin_ = Clock::now();
  hits_ = 0;
  watching_ = goal.stops && !watches_.empty();
  touched_.reset();
  if (watching_) watches_.look(state_.replay.task());
  std::optional<Halt> halt;
  for (bool first = true; !halt; first = false) {
    settle();
    note_changes();
    if (!first) halt = arrival(goal);
    if (halt) break;
    leave_checkpoint();
    touched_.reset();
    halt = move(goal);
    note_changes();
    // Before the event that is there is taken.
    if (!halt && goal.between_events() && state_.replay.events() == goal.events && at_goal(goal))
      halt = Halt{Kind::reached};
  }
  passed_s_ += seconds_since(begin_);
  return *halt;
}

void Timeline::note_changes() {
  if (!watching_) return;
  if (const auto changed = watches_.find_change(state_.replay.task())) touched_ = changed;
}

// Copying takes some milliseconds.
void Timeline::leave_checkpoint() {
  if (state_.steps != 0 || !state_.path.empty() || checkpoints_.has(state_.replay.events())) return;
  if (Clock::now() - checkpointed_ < kBetweenCheckpoints) return;
  checkpoints_.add({std::make_shared<replayer::Replay>(state_.replay.copy()),
                    passed_s_ + seconds_since(begin_)});
  checkpointed_ = Clock::now();
}

void Timeline::restore(const std::shared_ptr<const replayer::Replay>& replay) {
  state_ = {replay->copy(), {}, std::nullopt};
  watches_.forget_pages();
  accesses_ = 0;
  settle();
}

void Timeline::restore_before(std::uint64_t events) {
  const auto checkpoint = checkpoints_.before(events);
  restore(checkpoint.replay);
  state_.steps = 0;
  passed_s_ = checkpoint.at_s;
}

template <typename Motion>
Halt Timeline::forwards(const Motion& motion) {
  const std::uint64_t events = state_.replay.events();
  const Flag shown(shows_);
  try {
    return motion();
  } catch (const Error&) {
    shows_ = false;
    restore_before(events);
    if (state_.replay.events() < events) advance({.stops = false, .events = events});
    throw;
  }
}

Halt Timeline::run() {
  return forwards([&] { return advance({}); });
}

Halt Timeline::go_to_end() {
  return forwards([&] {
    const Halt halt = advance({.stops = false});
    return signal_at_hand().value_or(halt);
  });
}

Halt Timeline::step(std::uint32_t thread, const Range& range) {
  return forwards([&] {
    if (!state_.steps) leave_anchor();
    for (;;) {
      const Halt halt = step_thread(thread);
      if (halt.kind != Kind::step || interrupted_()) return halt;
      if (!range.contains(state_.replay.task().registers().pc())) return halt;
    }
  });
}

// Where it is another thread's turn these run until it is that one's.
Halt Timeline::step_thread(std::uint32_t thread) {
  const auto turn_of = [&] {
    const Halt halt = advance({.turn = thread});
    return halt.kind == Kind::reached ? Halt{Kind::step} : halt;
  };
  if (state_.replay.current() != thread && state_.replay.threads().contains(thread)) {
    const bool within_call = state_.replay.threads().at(thread).entered;
    const Halt halt = turn_of();
    if (halt.kind != Kind::step || within_call) return halt;
  }
  const Halt halt = advance({.step = true});
  return halt.kind == Kind::step && state_.replay.current() != thread ? turn_of() : halt;
}

template <typename Motion>
Halt Timeline::backwards(const Motion& motion) {
  State from = std::move(state_);
  try {
    return motion(from);
  } catch (const Error&) {
    state_ = std::move(from);
    settle();
    throw;
  }
}

Halt Timeline::run_back() {
  return backwards([&](State& from) { return search_back(from); });
}

Halt Timeline::go_to(std::uint64_t events) {
  return backwards([&](State& /*from*/) {
    restore_before(events);
    if (state_.replay.events() >= events) return Halt{Kind::reached};
    return advance({.stops = false, .events = events});
  });
}

Halt Timeline::run_back_to_change(Addr at, std::uint64_t size_bytes) {
  Watches watches;
  watches.add({at, size_bytes, Watch::Kind::write});
  Breakpoints breakpoints;
  std::set<int> signals;
  for (int signal = 1; signal <= SIGRTMAX; ++signal) signals.insert(signal);
  const auto exchange = [&] {
    std::swap(watches_, watches);
    std::swap(breakpoints_, breakpoints);
    std::swap(passed_, signals);
  };
  exchange();
  try {
    const Halt halt = run_back();
    exchange();
    return halt;
  } catch (...) {
    exchange();
    throw;
  }
}

void Timeline::keep() {
  const auto copy = std::make_shared<replayer::Replay>(state_.replay.copy());
  kept_ = Kept{{copy, state_.steps}, state_.path, passed_s_};
}

Halt Timeline::go_to_kept() {
  if (!kept_) fail(ErrorKind::usage, "no position was kept");
  restore(kept_->at.replay);
  state_.path = kept_->path;
  state_.steps = kept_->at.steps;
  passed_s_ = kept_->passed_s;
  return {Kind::reached};
}

Halt Timeline::step_back(std::uint32_t thread) {
  return backwards([&](State& from) {
    watches_.look(from.replay.task());
    if (!go_back_one(from, thread)) return Halt{Kind::begin};
    auto touched = watches_.find_change(state_.replay.task());
    if (!touched) touched = watches_.find_access(state_.replay.task());
    if (touched) return Halt{Kind::watch, 0, *touched};
    const auto stop = stop_here();
    return stop && stop->kind != Kind::end ? *stop : Halt{Kind::step};
  });
}

}  // namespace ckpt::timeline
