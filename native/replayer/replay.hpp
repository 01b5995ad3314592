// The parts of a replay under way.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "replayer/replayer.hpp"
#include "replayer/task.hpp"

namespace ckpt::replayer {

class Replay {
 public:
  explicit Replay(recording::Reader& reader);
  Outcome run();

 private:
  // What the task has when it is to go on as that thread.
  struct Thread {
    arch::Registers registers{};
    std::vector<std::byte> xstate;
    bool entered = false;  // a call, of which the end is still to come
    bool ended = false;
  };

  void apply();
  void apply_call();
  void apply_leave();
  void apply_instruction();
  void apply_signal();
  void apply_preemption();
  void apply_end();
  void finish_call();
  void add_thread();

  void switch_to(std::uint32_t index);
  Thread& thread(std::uint32_t index);
  void run_to_call();
  void run_to_signal(int signal);
  void set_after(const arch::Registers& registers);
  void write_all();
  void compare_registers(bool at_call);
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
  bool search_by_stub();
  [[nodiscard]] bool step_out_of(Addr start, Addr end) const;
  [[nodiscard]] bool is_at_position(const arch::Registers& registers, Addr stub) const;
  bool search_behind(std::uint64_t cpu_ns);

  recording::Reader& reader_;
  Task task_;
  recording::Event event_;
  std::map<std::uint32_t, Thread> threads_;
  std::uint32_t current_ = 0;
  Outcome outcome_;
};

}  // namespace ckpt::replayer
