// The parts of a recording under way. See recorder.cpp for the order in which they work.
#pragma once

#include <chrono>
#include <csignal>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "arch/syscall_rules.hpp"
#include "recorder/recorder.hpp"
#include "recording/code_sites.hpp"
#include "recording/file.hpp"
#include "tracee/memory.hpp"
#include "tracee/ptrace.hpp"

namespace ckpt::recorder {

using Clock = std::chrono::steady_clock;

/// Where a wait status has the ptrace event.
inline constexpr int kEventShift = 16;

struct Thread {
  Tid tid = 0;
  std::uint32_t index = 0;
  bool ended = false;
  // Where it is: in its own code, or within a system call that it has entered.
  bool in_call = false;
  bool blocked = false;      // an `enter` event says that others run during its call
  bool restarting = false;   // the kernel is about to make its interrupted call again
  bool before_call = false;  // it was put back in front of a call, for a signal to come first
  arch::Registers entry{};   // at the call's entry
  arch::Registers known{};   // where its last event has left it
  // There it was stopped by force. It may come by the same place again, with the same registers and
  // without an event: a loop that waits does. Everywhere else another event comes first.
  bool by_force = false;
  Addr clear_tid;  // where the kernel writes 0 when it ends
  std::uint64_t cpu_begin_ns = 0;
  std::deque<siginfo_t> held;  // signals to be delivered where a replay finds the place
  Clock::time_point held_since;
  std::map<int, siginfo_t> sent;  // sent again by us, with what they said at first
  std::optional<int> status;      // of a stop while another thread ran

  void leave_at(const arch::Registers& registers, bool forced = false) {
    known = registers;
    by_force = forced;
  }
  /// Whether it has done nothing since its last event. False if that is not known for sure.
  [[nodiscard]] bool has_not_moved(const arch::Registers& now) const {
    return !by_force && !arch::first_difference(known, now, false);
  }
};

class Session {
 public:
  Session(const recording::Command& command, const Options& options,
          std::function<void(const std::string&)> on_refusal);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Outcome run();

 private:
  // recorder.cpp: which thread runs, and what a stop is
  void start();
  Thread& add_thread(Tid tid);
  Thread* find(Tid tid);
  Thread* next_thread();
  void take_statuses();
  void run_thread(Thread& thread);
  int wait_for(Thread& thread);
  void wait_for_any();
  void keep_status(Tid tid, int status);
  void on_tick(Thread& thread);
  void write_now_and_then();
  void handle(Thread& thread, int status);
  void on_end(Thread& thread, int status);
  void on_event_stop(Thread& thread);
  [[nodiscard]] bool others_wait(const Thread& thread) const;
  [[nodiscard]] bool slice_over() const;
  void take_turn(Thread& thread);
  void give_turn(Thread& thread);

  // calls.cpp: system calls
  void on_call_entry(Thread& thread);
  void on_call_exit(Thread& thread);
  void go_on_in_call(Thread& thread);
  void mark_blocked(Thread& thread);
  void complete_call(Thread& thread, const arch::Registers& after);
  void skip_call(Thread& thread);
  void answer(Thread& thread, int error_number);
  void put_before_call(Thread& thread);
  bool is_asleep(const Thread& thread) const;
  void end_thread(Thread& thread);
  void wait_until_dead(const Thread& thread);

  // memory_calls.cpp
  [[nodiscard]] std::optional<std::string> why_no_memory_call(const Thread& thread,
                                                              arch::Special special) const;
  void note_memory_call(const Thread& thread, arch::Special special, recording::Event& event);
  void note_mapping(const Thread& thread, recording::Event& event);
  void note_code(Addr start, Addr end, recording::Event& event);

  // creation.cpp: threads and processes
  [[nodiscard]] std::optional<std::string> why_no_creation(const Thread& thread) const;
  void create(Thread& thread);
  void let_child_go(const Thread& parent, Tid child, std::uint64_t flags);
  std::uint32_t adopt_thread(Tid tid, std::uint64_t flags, Addr clear_tid);

  // signals.cpp: signals, and instructions that are replaced by breakpoints
  void on_signal_stop(Thread& thread, int signal);
  bool on_instruction(Thread& thread, const arch::Registers& registers);
  void deliver(Thread& thread, const siginfo_t& info, recording::SignalPlace place);
  void enter_handler(Thread& thread, recording::Event event);
  void end_by_signal(Thread& thread, recording::Event event);
  void drop_signal(Thread& thread);
  [[nodiscard]] bool can_deliver_held(const Thread& thread) const;
  void send_held(Thread& thread);

  // preemption.cpp
  bool reach_position(Thread& thread);
  bool step_to_position(Thread& thread);
  bool step(Thread& thread);
  void note_position(Thread& thread);

  // ending.cpp
  recording::Event event_of(const Thread& thread, recording::EventKind kind) const;
  void log(recording::Event event);
  void refuse(const Thread& thread, const std::string& what);
  void finish(recording::Event event, int signal, Thread& thread);
  void release_all();
  void stop_for_release(Thread& thread);
  void wait_for_end();

  Options options_;
  std::function<void(const std::string&)> on_refusal_;
  recording::Command command_;
  tracee::Child process_;
  tracee::Memory memory_;
  recording::Writer writer_;
  recording::Sites sites_;
  std::list<Thread> threads_;
  std::deque<Thread*> queue_;     // those that can run, the next one first
  std::map<Tid, int> strangers_;  // stops of threads and processes that no event has told of yet
  Thread* turn_ = nullptr;
  Clock::time_point turn_since_;
  bool interrupted_ = false;  // a stop was asked for, and has not come
  bool over_ = false;
  bool has_shared_memory_ = false;
  bool has_shared_files_ = false;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point flushed_ = Clock::now();
  Clock::duration digesting_{};
  std::uint64_t digested_events_ = 0;
  std::set<std::string> notes_;
  Outcome outcome_;
};

}  // namespace ckpt::recorder
