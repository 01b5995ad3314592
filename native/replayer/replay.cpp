// A replay takes one event after another: it goes on as the event's thread, runs it until it comes
// to where the event was, compares, and gives it what it was given then.
#include "replayer/replay.hpp"

#include <sys/prctl.h>

#include <array>
#include <chrono>
#include <cstring>

#include "base/error.hpp"
#include "base/signal_name.hpp"
#include "recording/memory_digest.hpp"

namespace ckpt::replayer {

namespace {

constexpr std::size_t kNameBytes = 15;  // of a thread, without the null

}  // namespace

Replay::Replay(const recording::Start& start) : task_(start) {
  threads_[0].name = start.program.substr(start.program.rfind('/') + 1).substr(0, kNameBytes);
  sites_.insert(task_.memory(), start.sites);
}

Replay Replay::copy() const {
  Replay made(task_.copy());
  made.sites_ = sites_;
  made.threads_ = threads_;
  made.current_ = current_;
  made.events_ = events_;
  return made;
}

void Replay::apply(const recording::Event& event) {
  event_ = &event;
  switch_to(event.thread);
  if (event.kind == recording::EventKind::preemption && !search())
    diverged("the position is not found");
  take(event, runs_to(event) ? std::optional(task_.run()) : std::nullopt);
}

bool Replay::runs_to(const recording::Event& event) {
  switch (event.kind) {
    case recording::EventKind::leave:
    case recording::EventKind::preemption: return false;
    case recording::EventKind::signal: return event.place != recording::SignalPlace::boundary;
    case recording::EventKind::end:
      return event.reason == recording::EndReason::signal
                 ? event.place != recording::SignalPlace::boundary
                 : event.reason != recording::EndReason::killed;
    default: return true;
  }
}

void Replay::take(const recording::Event& event, std::optional<Stop> stop) {
  event_ = &event;
  switch_to(event.thread);
  if (stop) expect(*stop);
  switch (event.kind) {
    case recording::EventKind::call:
    case recording::EventKind::enter: take_call(); break;
    case recording::EventKind::leave: take_leave(); break;
    case recording::EventKind::instruction: set_after(known_after()); break;
    case recording::EventKind::signal: take_signal(!stop); break;
    case recording::EventKind::preemption:
    case recording::EventKind::end: break;
  }
  compare_memory();
  ++events_;
}

void Replay::deliver(const recording::Event& event) {
  event_ = &event;
  enter_handler();
  compare_memory();
  ++events_;
}

// What the thread must have stopped for.
void Replay::expect(const Stop& stop) const {
  switch (event_->kind) {
    case recording::EventKind::instruction: return expect_signal(stop, SIGTRAP);
    case recording::EventKind::signal: break;
    case recording::EventKind::end:
      if (event_->reason == recording::EndReason::signal) break;
      [[fallthrough]];
    default: return expect_call(stop);
  }
  if (event_->place == recording::SignalPlace::at_call) return expect_call(stop);
  expect_signal(stop, static_cast<int>(event_->number));
}

void Replay::take_call() {
  Thread& caller = thread(current_);
  if (caller.entered) diverged("the thread is within a call already");
  if (event_->kind == recording::EventKind::enter)
    caller.entered = true;
  else
    finish_call();
}

void Replay::take_leave() {
  if (!thread(current_).entered) diverged("the thread is within no call");
  thread(current_).entered = false;
  finish_call();
}

void Replay::finish_call() {
  const auto* rule = arch::syscall_rule(static_cast<arch::Word>(event_->number));
  if (rule == nullptr) diverged("there is no such call");
  if (rule->handling == arch::Handling::end_thread) {
    thread(current_).ended = true;
    write_all();
    return;
  }
  if (rule->handling == arch::Handling::memory && event_->result >= 0)
    make_memory_call(rule->special);
  write_all();
  if (rule->special == arch::Special::prctl) note_name();
  sites_.insert(task_.memory(), event_->sites);
  const bool is_own = event_->after && !event_->new_thread;
  if (event_->new_thread) add_thread();
  set_after(is_own ? *event_->after : arch::after_call(event_->at, event_->result));
}

void Replay::note_name() {
  if (event_->at.arg(0) != PR_SET_NAME || event_->result != 0) return;
  std::array<char, kNameBytes> name{};
  task_.memory().read_some(Addr{event_->at.arg(1)}, std::as_writable_bytes(std::span(name)));
  thread(current_).name.assign(name.data(), ::strnlen(name.data(), name.size()));
}

void Replay::add_thread() {
  if (!event_->after || threads_.contains(*event_->new_thread))
    fail(ErrorKind::damaged, "event {}: a thread that cannot be", events_);
  Thread& made = threads_[*event_->new_thread];
  made.name = threads_.at(current_).name;
  made.registers = *event_->after;
  made.xstate = tracee::get_xstate(task_.pid());
}

const arch::Registers& Replay::known_after() const {
  if (!event_->after) fail(ErrorKind::damaged, "event {}: it has no registers", events_);
  return *event_->after;
}

void Replay::take_signal(bool compare) {
  if (compare) compare_registers(false);
  enter_handler();
}

void Replay::enter_handler() {
  const auto& after = known_after();
  write_all();
  set_after(after);
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
    fail(ErrorKind::damaged, "event {}: there is no thread {}", events_, index);
  return found->second;
}

void Replay::expect_call(const Stop& stop) const {
  if (stop.kind != Stop::Kind::call)
    diverged(fmt::format("{} comes instead", signal_name(stop.signal)));
  compare_registers(true);
}

void Replay::expect_signal(const Stop& stop, int signal) const {
  if (stop.kind == Stop::Kind::call) {
    const auto* rule = arch::syscall_rule(task_.registers().syscall_number());
    diverged(fmt::format("it calls {} instead", rule == nullptr ? "the kernel" : rule->name));
  }
  if (stop.signal != signal) diverged(fmt::format("{} comes instead", signal_name(stop.signal)));
  compare_registers(false);
}

void Replay::set_after(const arch::Registers& registers) {
  task_.set_registers(registers);
  if (!event_->xstate.empty()) tracee::set_xstate(task_.pid(), event_->xstate);
}

void Replay::write_all() {
  for (const auto& write : event_->writes) task_.memory().write(write.at, write.bytes);
}

void Replay::compare_registers(bool at_call) const {
  auto registers = task_.registers();
  const auto differs = arch::first_difference(event_->at, registers, at_call);
  if (!differs) return;
  diverged(fmt::format("register {} is {:#x} and was {:#x}", arch::register_names()[*differs],
                       arch::get_register(registers, *differs),
                       arch::get_register(event_->at, *differs)));
}

void Replay::compare_memory() {
  if (event_->memory.empty()) return;
  ++digests_;
  const auto now = recording::digest_memory(task_.pid(), task_.memory());
  if (const auto window = recording::first_difference(event_->memory, now))
    diverged(
        fmt::format("the memory at {}-{} differs", *window, *window + recording::kWindowBytes));
}

void Replay::diverged(const std::string& how) const {
  fail(ErrorKind::refused, "the replay differs at {}: {}", where(), how);
}

std::string Replay::where() const {
  std::string what;
  switch (event_->kind) {
    case recording::EventKind::signal: what = signal_name(static_cast<int>(event_->number)); break;
    case recording::EventKind::instruction: what = "an instruction"; break;
    case recording::EventKind::preemption: what = "a change of threads"; break;
    default: {
      const auto* rule = arch::syscall_rule(static_cast<arch::Word>(event_->number));
      what = rule == nullptr ? "the end" : std::string(rule->name);
    }
  }
  return fmt::format("event {} (thread {}, {})", events_, event_->thread, what);
}

namespace {

void note_end(const recording::Event& event, Outcome& outcome) {
  outcome.ended = true;
  outcome.reason = event.reason;
  outcome.refused = event.text;
}

}  // namespace

Outcome check(recording::Reader& reader) {
  const auto begin = std::chrono::steady_clock::now();
  Outcome outcome;
  Replay replay(reader.start());
  while (const auto event = reader.next()) {
    if (outcome.ended) fail(ErrorKind::damaged, "there are events behind its end");
    replay.apply(*event);
    if (event->kind == recording::EventKind::preemption) ++outcome.preemptions;
    if (event->kind == recording::EventKind::end) note_end(*event, outcome);
  }
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  outcome.events = replay.events();
  outcome.digests = replay.digests();
  outcome.threads = replay.threads().size();
  return outcome;
}

}  // namespace ckpt::replayer
