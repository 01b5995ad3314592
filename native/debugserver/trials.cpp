// What GDB writes is tried on a copy of the program, and so are functions that it calls.
#include "arch/syscall_rules.hpp"
#include "arch/target_description.hpp"
#include "base/error.hpp"
#include "debugserver/server.hpp"
#include "tracee/ptrace.hpp"

namespace ckpt::debugserver {

timeline::Trial& Server::trial() {
  if (!trial_) trial_.emplace(timeline_.now());
  return *trial_;
}

// Whether a thread has other registers than in history: it is somewhere else, and goes on from
// there. GDB puts them back when a function that it has called has returned.
bool Server::is_off_course() const {
  if (!trial_) return false;
  const auto& history = timeline_.now();
  const auto& tried = trial_->replay();
  const auto& then = tried.current() == history.current()
                         ? history.task().registers()
                         : history.threads().at(tried.current()).registers;
  return arch::first_difference(then, tried.task().registers(), false).has_value();
}

std::string Server::run_trial(bool one_step) {
  const timeline::Trial::Surroundings around{
      timeline_.breakpoints(), [this] { return input_waits(); },
      [this](std::string_view shown) { send("O" + to_hex(shown)); }};
  return report(Direction::forwards,
                [&] { return one_step ? trial_->step(around) : trial_->run(around); });
}

void Server::drop_trial() {
  if (trial_ && trial_->written())
    send("O" + to_hex("What was changed is dropped: history stays as it was recorded.\n"));
  trial_.reset();
}

template <typename Change>
std::string Server::change_registers(const Change& change) {
  auto& replay = trial().replay();
  if (replay.current() != registers_thread_) replay.switch_to(registers_thread_);
  const auto& task = replay.task();
  auto registers = task.registers();
  auto xstate = tracee::get_xstate(task.pid());
  if (!change(registers, xstate)) return "E01";
  task.set_registers(registers);
  tracee::set_xstate(task.pid(), xstate);
  return "OK";
}

std::string Server::write_registers(Words packet) {
  const auto all = from_hex(packet.rest());
  if (!all) return "E01";
  return change_registers([&](auto& registers, auto& xstate) {
    for (std::uint64_t number = 0; number < arch::described_register_count(); ++number) {
      const auto place = arch::described_register(number);
      if (place.offset + place.size_bytes > all->size()) break;
      const auto value = std::span(*all).subspan(place.offset, place.size_bytes);
      if (!arch::set_described_register(number, value, registers, xstate)) return false;
    }
    return true;
  });
}

std::string Server::write_one_register(Words packet) {
  const auto number = packet.number();
  const auto value = packet.take("=") ? from_hex(packet.rest()) : std::nullopt;
  if (!number || !value) return "E01";
  return change_registers([&](auto& registers, auto& xstate) {
    return arch::set_described_register(*number, *value, registers, xstate);
  });
}

std::string Server::write_memory(Words packet, bool binary) {
  const auto at = packet.number();
  const auto size_bytes = packet.take(",") ? packet.number() : std::nullopt;
  if (!at || !size_bytes || !packet.take(":")) return "E01";
  const auto text = packet.rest();
  std::vector<std::byte> bytes;
  if (binary) {
    const auto* first = reinterpret_cast<const std::byte*>(text.data());
    bytes.assign(first, first + text.size());
  } else {
    bytes = from_hex(text).value_or(std::vector<std::byte>());
  }
  if (bytes.size() != *size_bytes) return "E01";
  // GDB asks in this way whether it may.
  if (bytes.empty()) return "OK";
  trial().write(Addr{*at}, bytes);
  return "OK";
}

}  // namespace ckpt::debugserver
