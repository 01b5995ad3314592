// A replay takes one event after another: it goes on as the event's thread, runs it until it comes
// to where the event was, compares, and gives it what it was given then.
#include "replayer/replay.hpp"

#include <chrono>

#include "base/error.hpp"
#include "base/signal_name.hpp"
#include "recording/memory_digest.hpp"

namespace ckpt::replayer {

Replay::Replay(recording::Reader& reader) : reader_(reader), task_(reader.start()) { threads_[0]; }

Outcome Replay::run() {
  const auto begin = std::chrono::steady_clock::now();
  while (auto event = reader_.next()) {
    if (outcome_.ended) fail(ErrorKind::damaged, "there are events behind its end");
    event_ = std::move(*event);
    apply();
    ++outcome_.events;
  }
  outcome_.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  outcome_.threads = threads_.size();
  return outcome_;
}

void Replay::apply() {
  switch_to(event_.thread);
  switch (event_.kind) {
    case recording::EventKind::call:
    case recording::EventKind::enter: apply_call(); break;
    case recording::EventKind::leave: apply_leave(); break;
    case recording::EventKind::instruction: apply_instruction(); break;
    case recording::EventKind::signal: apply_signal(); break;
    case recording::EventKind::preemption: apply_preemption(); break;
    case recording::EventKind::end: apply_end(); break;
  }
  compare_memory();
}

void Replay::apply_call() {
  if (thread(current_).entered) diverged("the thread is within a call already");
  run_to_call();
  if (event_.kind == recording::EventKind::enter)
    thread(current_).entered = true;
  else
    finish_call();
}

void Replay::apply_leave() {
  if (!thread(current_).entered) diverged("the thread is within no call");
  thread(current_).entered = false;
  finish_call();
}

void Replay::finish_call() {
  const auto* rule = arch::syscall_rule(static_cast<arch::Word>(event_.number));
  if (rule == nullptr) diverged("there is no such call");
  if (rule->handling == arch::Handling::end_thread) {
    thread(current_).ended = true;
    write_all();
    return;
  }
  if (rule->handling == arch::Handling::memory && event_.result >= 0)
    make_memory_call(rule->special);
  write_all();
  for (const auto& site : event_.sites) task_.memory().write(site.at, arch::kBreakpointInstruction);
  const bool is_own = event_.after && !event_.new_thread;
  if (event_.new_thread) add_thread();
  set_after(is_own ? *event_.after : arch::after_call(event_.at, event_.result));
}

void Replay::add_thread() {
  if (!event_.after || threads_.contains(*event_.new_thread))
    fail(ErrorKind::damaged, "event {}: a thread that cannot be", outcome_.events);
  Thread& made = threads_[*event_.new_thread];
  made.registers = *event_.after;
  made.xstate = tracee::get_xstate(task_.pid());
}

void Replay::apply_instruction() {
  run_to_signal(SIGTRAP);
  if (!event_.after) fail(ErrorKind::damaged, "event {}: it has no registers", outcome_.events);
  set_after(*event_.after);
}

void Replay::apply_signal() {
  switch (event_.place) {
    case recording::SignalPlace::boundary: compare_registers(false); break;
    case recording::SignalPlace::at_call: run_to_call(); break;
    case recording::SignalPlace::fault: run_to_signal(static_cast<int>(event_.number)); break;
  }
  if (!event_.after) fail(ErrorKind::damaged, "event {}: it has no registers", outcome_.events);
  write_all();
  set_after(*event_.after);
}

void Replay::apply_preemption() {
  if (!search()) diverged("the position is not found");
  ++outcome_.preemptions;
}

void Replay::apply_end() {
  outcome_.ended = true;
  outcome_.reason = event_.reason;
  outcome_.refused = event_.text;
  switch (event_.reason) {
    case recording::EndReason::exited:
    case recording::EndReason::refused: return run_to_call();
    case recording::EndReason::killed: return;
    case recording::EndReason::signal: break;
  }
  if (event_.place == recording::SignalPlace::at_call) run_to_call();
  if (event_.place == recording::SignalPlace::fault) run_to_signal(static_cast<int>(event_.number));
}

void Replay::switch_to(std::uint32_t index) {
  if (index == current_) return;
  Thread& next = thread(index);
  if (Thread& last = threads_.at(current_); !last.ended) {
    last.registers = task_.registers();
    last.xstate = tracee::get_xstate(task_.pid());
  }
  task_.set_registers(next.registers);
  tracee::set_xstate(task_.pid(), next.xstate);
  current_ = index;
}

Replay::Thread& Replay::thread(std::uint32_t index) {
  const auto found = threads_.find(index);
  if (found == threads_.end() || found->second.ended)
    fail(ErrorKind::damaged, "event {}: there is no thread {}", outcome_.events, index);
  return found->second;
}

void Replay::run_to_call() {
  const Stop stop = task_.run();
  if (stop.kind != Stop::Kind::call)
    diverged(fmt::format("{} comes instead", signal_name(stop.signal)));
  compare_registers(true);
}

void Replay::run_to_signal(int signal) {
  const Stop stop = task_.run();
  if (stop.kind == Stop::Kind::call) {
    const auto* rule = arch::syscall_rule(task_.registers().syscall_number());
    diverged(fmt::format("it calls {} instead", rule == nullptr ? "the kernel" : rule->name));
  }
  if (stop.signal != signal) diverged(fmt::format("{} comes instead", signal_name(stop.signal)));
  compare_registers(false);
}

void Replay::set_after(const arch::Registers& registers) {
  task_.set_registers(registers);
  if (!event_.xstate.empty()) tracee::set_xstate(task_.pid(), event_.xstate);
}

void Replay::write_all() {
  for (const auto& write : event_.writes) task_.memory().write(write.at, write.bytes);
}

void Replay::compare_registers(bool at_call) {
  auto registers = task_.registers();
  const auto differs = arch::first_difference(event_.at, registers, at_call);
  if (!differs) return;
  diverged(fmt::format("register {} is {:#x} and was {:#x}", arch::register_names()[*differs],
                       arch::get_register(registers, *differs),
                       arch::get_register(event_.at, *differs)));
}

void Replay::compare_memory() {
  if (event_.memory.empty()) return;
  ++outcome_.digests;
  const auto now = recording::digest_memory(task_.pid(), task_.memory());
  if (const auto window = recording::first_difference(event_.memory, now))
    diverged(
        fmt::format("the memory at {}-{} differs", *window, *window + recording::kWindowBytes));
}

void Replay::diverged(const std::string& how) const {
  fail(ErrorKind::refused, "the replay differs at {}: {}", where(), how);
}

std::string Replay::where() const {
  std::string what;
  switch (event_.kind) {
    case recording::EventKind::signal: what = signal_name(static_cast<int>(event_.number)); break;
    case recording::EventKind::instruction: what = "an instruction"; break;
    case recording::EventKind::preemption: what = "a change of threads"; break;
    default: {
      const auto* rule = arch::syscall_rule(static_cast<arch::Word>(event_.number));
      what = rule == nullptr ? "the end" : std::string(rule->name);
    }
  }
  return fmt::format("event {} (thread {}, {})", outcome_.events, event_.thread, what);
}

Outcome check(recording::Reader& reader) {
  Replay replay(reader);
  return replay.run();
}

}  // namespace ckpt::replayer
