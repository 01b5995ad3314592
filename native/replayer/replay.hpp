// A replay under way: the task, the program's threads, and how many events they are past.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "recording/code_sites.hpp"
#include "replayer/place.hpp"
#include "replayer/replayer.hpp"
#include "replayer/task.hpp"

namespace ckpt::replayer {

class Replay {
 public:
  // What the task has when it is to go on as that thread.
  struct Thread {
    arch::Registers registers{};
    std::vector<std::byte> xstate;
    std::string name;      // as prctl(PR_SET_NAME) has set it; of the first one: the program's
    bool entered = false;  // a call, of which the end is still to come
    bool ended = false;
  };

  explicit Replay(const recording::Start& start);
  /// Another one that stands where this does.
  [[nodiscard]] Replay copy() const;

  /// Runs to the next event, compares, and takes it. Throws Error where the program does something
  /// else.
  void apply(const recording::Event& event);

  // For those who run the task themselves.

  /// Whether the event's thread runs up to it, to a stop by which it is recognized.
  static bool runs_to(const recording::Event& event);
  /// The task has stopped where the event is, if it runs to it. Compares, and takes the event.
  void take(const recording::Event& event, std::optional<Stop> stop);
  /// Enters the handler of a signal at whose place the task is.
  void deliver(const recording::Event& event);
  /// Goes on as that thread. Throws Error (damaged) if there is none.
  void switch_to(std::uint32_t index);

  [[nodiscard]] Task& task() { return task_; }
  [[nodiscard]] const Task& task() const { return task_; }
  [[nodiscard]] std::uint64_t events() const { return events_; }
  [[nodiscard]] std::uint64_t digests() const { return digests_; }
  [[nodiscard]] std::uint32_t current() const { return current_; }
  [[nodiscard]] const std::map<std::uint32_t, Thread>& threads() const { return threads_; }
  [[nodiscard]] const recording::Sites& sites() const { return sites_; }

 private:
  explicit Replay(Task task) : task_(std::move(task)) {}

  void take_call();
  void take_leave();
  void take_signal(bool compare);
  void enter_handler();
  void finish_call();
  void add_thread();
  void note_name();
  [[nodiscard]] const arch::Registers& known_after() const;

  Thread& thread(std::uint32_t index);
  void expect(const Stop& stop) const;
  void expect_call(const Stop& stop) const;
  void expect_signal(const Stop& stop, int signal) const;
  void set_after(const arch::Registers& registers);
  void write_all();
  void compare_registers(bool at_call) const;
  void compare_memory();
  [[noreturn]] void diverged(const std::string& how) const;
  [[nodiscard]] std::string where() const;

  // memory_calls.cpp
  void make_memory_call(arch::Special special);
  void map();
  void fill_from_file(Addr start, std::uint64_t size_bytes, std::uint64_t offset_bytes);
  void expect_result(const char* name, std::int64_t result);

  // positions.cpp
  bool search();
  bool search_by_stub(Place wanted);
  bool search_behind(const Place& place, std::uint64_t cpu_ns);

  Task task_;
  recording::Sites sites_;
  const recording::Event* event_ = nullptr;  // under way
  std::map<std::uint32_t, Thread> threads_;
  std::uint32_t current_ = 0;
  std::uint64_t events_ = 0;   // that were taken
  std::uint64_t digests_ = 0;  // that were compared
};

}  // namespace ckpt::replayer
