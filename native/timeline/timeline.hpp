// Goes forwards and backwards over a recording.
//
// A position is a number of events that were taken, and a place of the thread that runs next.
// Between two events the replay is deterministic, so going back is going forwards again from a copy
// of the task that was left behind: to the last stop before where we were (run_back), or to one
// instruction before (step_back).
//
// At each position that is shown, events that nothing has to run for are taken: the current thread
// is the one that runs next. A signal is an event that is taken by a step: before it, the thread is
// where the signal comes.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "recording/history.hpp"
#include "replayer/place.hpp"
#include "replayer/position_jump.hpp"
#include "replayer/replay.hpp"
#include "timeline/breakpoints.hpp"
#include "timeline/checkpoints.hpp"
#include "timeline/halt.hpp"

namespace ckpt::timeline {

using replayer::Place;

/// Instructions from `begin` to before `end`; none if these are the same.
struct Range {
  Addr begin;
  Addr end;
  [[nodiscard]] bool contains(Addr at) const { return at >= begin && at < end; }
};

class Timeline {
 public:
  /// At the program's first instruction. `interrupted` is asked now and then during a motion.
  /// Throws Error.
  Timeline(const std::string& path, std::function<bool()> interrupted);

  [[nodiscard]] const recording::History& history() const { return history_; }
  [[nodiscard]] const replayer::Replay& now() const { return state_.replay; }
  /// The event that comes next; nothing at the end.
  [[nodiscard]] const recording::Event* next() const { return next_.get(); }
  [[nodiscard]] std::optional<Halt> signal_at_hand() const;
  /// Whether nothing more can run.
  [[nodiscard]] bool at_end() const { return at_hand() != AtHand::nothing && is_last(); }

  Breakpoints& breakpoints() { return breakpoints_; }
  Watches& watches() { return watches_; }
  /// Given what the program writes to its output, while a motion goes forwards; empty: nowhere.
  using Show = std::function<void(std::string_view)>;
  void show_output(Show show) { show_ = std::move(show); }
  /// Signals that stop no motion.
  void pass_signals(std::set<int> signals) { passed_ = std::move(signals); }

  // Motions. One that throws Error leaves the position where it was, or, forwards, at the last
  // event before it.
  Halt run();
  /// One instruction of that thread, or all in `range`; others run while it does not.
  Halt step(std::uint32_t thread, const Range& range);
  Halt run_back();
  Halt step_back(std::uint32_t thread);
  /// Before the last change of that memory, whatever breakpoints there are on the way.
  Halt run_back_to_change(Addr at, std::uint64_t size_bytes);
  /// To where so many events are taken.
  Halt go_to(std::uint64_t events);
  Halt go_to_end();
  /// Has go_to_kept() come back to here, also between two events.
  void keep();
  Halt go_to_kept();

 private:
  using Clock = std::chrono::steady_clock;

  // A copy left behind between the same two events, before the position.
  struct Anchor {
    std::shared_ptr<const replayer::Replay> replay;
    std::optional<std::uint64_t> steps;  // from the one before, or from the event
  };
  struct State {
    replayer::Replay replay;
    std::vector<Anchor> path;
    std::optional<std::uint64_t> steps;  // from the last anchor, or from the event
  };
  // When to stop.
  struct Goal {
    bool stops = true;                                 // at breakpoints and signals
    bool step = false;                                 // after one instruction
    std::optional<std::uint32_t> turn = std::nullopt;  // when that thread runs
    std::uint64_t events = ~0ULL;  // where so many events are taken; if none of these: at once
    const Place* place = nullptr;
    std::optional<Addr> pc = std::nullopt;
    bool at_event = false;  // where the next event is at hand
    [[nodiscard]] bool between_events() const { return place != nullptr || pc || at_event; }
  };
  enum class AtHand : std::uint8_t { nothing, signal, end };

  // timeline.cpp
  void settle();
  void on_event();
  [[nodiscard]] bool is_last() const;
  [[nodiscard]] AtHand at_hand() const;
  [[nodiscard]] bool at_goal(const Goal& goal) const;
  [[nodiscard]] std::optional<Halt> arrival(const Goal& goal) const;
  [[nodiscard]] std::optional<Halt> stop_here() const;
  Halt advance(const Goal& goal);
  void note_changes();
  Halt step_thread(std::uint32_t thread);
  template <typename Motion>
  Halt forwards(const Motion& motion);
  template <typename Motion>
  Halt backwards(const Motion& motion);
  void leave_checkpoint();
  void restore(const std::shared_ptr<const replayer::Replay>& replay);
  void restore_before(std::uint64_t events);

  // motion.cpp
  std::optional<Halt> move(const Goal& goal);
  [[nodiscard]] std::set<Addr> targets(const Goal& goal) const;
  [[nodiscard]] const Place* sought(const Goal& goal) const;
  void step_once();
  bool step_from(const arch::Registers& registers);
  bool shows_stepping_at(Addr at);
  void run_on(const std::set<Addr>& targets);
  bool run_by_jump(const Place& place, std::set<Addr> targets);
  void run_with_jump(const replayer::PositionJump& jump, const std::set<Addr>& targets);
  void run_past_repeating();
  struct TaskStop {
    replayer::Stop stop;
    bool by_guard = false;  // of what is watched
  };
  TaskStop run_task(const std::set<Addr>& breakpoints);
  void leave_stub(const replayer::PositionJump& jump);
  void classify(const replayer::Stop& stop, bool stepped, const std::set<Addr>& inserted);
  void pass_access();

  // backwards.cpp
  Halt search_back(const State& from);
  std::optional<Halt> search_between(const std::shared_ptr<const replayer::Replay>& begin,
                                     const replayer::Replay& end, bool at_end);
  Halt before_touch(const Halt& stop);
  bool go_back_one(State& from, std::optional<std::uint32_t> thread);
  bool go_before_event(std::uint64_t index);
  static void drop_anchors_here(State& from);
  void go_back_within(State from);
  std::uint64_t locate(State& from);
  std::optional<std::uint64_t> count_steps(const Place& place, std::uint64_t most);
  bool add_visit(State& from, const Place& place);
  bool add_by_count(State& from, const Place& place);
  std::optional<Addr> loop_ahead(const State& from, const Place& place);
  std::uint64_t count_passes(const State& from, const Place& place, Addr at);
  bool go_to_pass(const State& from, Addr at, std::uint64_t passes);
  bool add_by_time(State& from, const Place& place);
  void step_on(std::uint64_t steps);
  void leave_anchor();

  recording::History history_;
  std::function<bool()> interrupted_;
  State state_;
  std::shared_ptr<const recording::Event> next_;
  std::optional<Place> preemption_;  // where the next event is, if it is one
  Checkpoints checkpoints_;
  struct Kept {
    Anchor at;
    std::vector<Anchor> path;
    double passed_s = 0;
  };
  std::optional<Kept> kept_;
  Breakpoints breakpoints_;
  Watches watches_;
  bool watching_ = false;         // what is watched, during this motion
  std::optional<Watch> touched_;  // by the last move
  // Stops because of protected pages since a copy was gone on from, and the one before which a copy
  // is to be left behind.
  std::uint64_t accesses_ = 0;
  std::uint64_t anchored_access_ = 0;
  std::set<int> passed_;
  Show show_;
  bool shows_ = false;                   // now
  std::map<Addr, bool> shows_stepping_;  // of instructions, until the next event
  int hits_ = 0;                         // of the place that is sought, since the last event
  bool may_jump_ = true;                 // until the next event
  double passed_s_ = 0;                  // what a replay to the begin of this motion has taken
  Clock::time_point begin_;              // of the motion
  Clock::time_point checkpointed_;       // when that was last
};

}  // namespace ckpt::timeline
