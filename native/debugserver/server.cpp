#include "debugserver/server.hpp"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <utility>

#include "arch/target_description.hpp"
#include "base/error.hpp"
#include "base/io.hpp"
#include "debugserver/signals.hpp"

namespace ckpt::debugserver {

namespace {

constexpr std::string_view kFeatures =
    "PacketSize=20000;QStartNoAckMode+;vContSupported+;QPassSignals+;swbreak+;hwbreak+;"
    "ReverseStep+;ReverseContinue+;qXfer:features:read+;qXfer:auxv:read+;qXfer:exec-file:read+;"
    "qXfer:threads:read+;ConditionalBreakpoints+";
constexpr std::string_view kError = "E01";
constexpr std::string_view kDone = "OK";

// Of the word for it in a stop reply.
std::string_view prefix_of(timeline::Watch::Kind kind) {
  switch (kind) {
    case timeline::Watch::Kind::read: return "r";
    case timeline::Watch::Kind::access: return "a";
    case timeline::Watch::Kind::write: break;
  }
  return "";
}

}  // namespace

std::optional<Position> parse_position(std::string_view text) {
  if (text == "begin") return Position{};
  if (text == "end") return Position{true, 0};
  Position position;
  const auto* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, position.events);
  return error == std::errc{} && rest == end ? std::optional(position) : std::nullopt;
}

Server::Server(const std::string& recording, int input, int output)
    : input_(input),
      output_(output),
      timeline_(recording, [this] { return input_waits(); }),
      file_(recording) {}

void Server::go_to(const Position& position) {
  const std::uint64_t last = timeline_.history().events();
  if (position.kept)
    timeline_.go_to_kept();
  else if (position.at_end)
    timeline_.go_to_end();
  else if (position.events > last)
    fail(ErrorKind::usage, "there is no event {}: the last is {}", position.events, last);
  else
    timeline_.go_to(position.events);
  registers_thread_ = timeline_.now().current();
}

// GDB is gone, or asks us to stop.
bool Server::input_waits() const {
  if (listens_ && reader_.has_interrupt()) return true;
  pollfd waits{input_, POLLIN, 0};
  if (::poll(&waits, 1, 0) <= 0) return false;
  return listens_ || (waits.revents & (POLLHUP | POLLERR)) != 0;
}

void Server::serve() {
  for (std::string packet; !over_ && receive(packet);) answer(packet);
}

// False at the end of the input.
bool Server::receive(std::string& packet) {
  for (;;) {
    const auto kind = reader_.take(packet);
    if (kind == PacketReader::Kind::packet || kind == PacketReader::Kind::damaged) {
      const bool good = kind == PacketReader::Kind::packet;
      if (acknowledges_) write_all(output_, good ? "+" : "-", "GDB");
      if (good) return true;
    }
    if (kind == PacketReader::Kind::repeat) write_all(output_, last_sent_, "GDB");
    if (kind != PacketReader::Kind::none) continue;
    std::array<char, 4096> buffer{};
    const ssize_t size = ::read(input_, buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return false;
    reader_.add({buffer.data(), static_cast<std::size_t>(size)});
  }
}

void Server::send(std::string_view content) {
  last_sent_ = framed(content);
  write_all(output_, last_sent_, "GDB");
}

void Server::answer(const std::string& packet) {
  std::string reply;
  try {
    reply = reply_to(Words(packet));
  } catch (const Error&) {
    reply = kError;
  }
  // It asks for no answer.
  if (packet == "k") return;
  send(reply);
  if (packet == "QStartNoAckMode") acknowledges_ = false;
}

std::string Server::reply_to(Words packet) {
  if (packet.take("vCont?")) return "vCont;c;C;s;S;r";
  if (packet.take("vCont;")) return resume(packet);
  if (packet.take("bc")) return go_back(false);
  if (packet.take("bs")) return go_back(true);
  if (packet.take("?")) return stop_reply(timeline_.signal_at_hand().value_or(timeline::Halt{}));
  if (packet.take("g")) return to_hex(registers_of(registers_thread_));
  if (packet.take("p")) return one_register(packet);
  if (packet.take("m")) return read_memory(packet);
  if (packet.take("H")) return select_thread(packet);
  if (packet.take("T")) {
    const auto id = packet.number();
    const auto thread = id ? thread_of(*id) : std::nullopt;
    return std::string(thread && is_alive(*thread) ? kDone : kError);
  }
  if (packet.take("Z")) return change_breakpoint(packet, true);
  if (packet.take("z")) return change_breakpoint(packet, false);
  if (packet.take("QStartNoAckMode")) return std::string(kDone);
  if (packet.take("QPassSignals:")) {
    pass_signals(packet);
    return std::string(kDone);
  }
  if (packet.take("q")) return reply_to_query(packet);
  if (packet.rest() == "k" || packet.take("D") || packet.take("vKill")) {
    over_ = true;
    return std::string(kDone);
  }
  if (packet.take("G")) return write_registers(packet);
  if (packet.take("P")) return write_one_register(packet);
  if (packet.take("M")) return write_memory(packet, false);
  if (packet.take("X")) return write_memory(packet, true);
  return {};
}

std::string Server::reply_to_query(Words packet) {
  if (packet.take("Supported")) return std::string(kFeatures);
  if (packet.take("Xfer:")) return reply_to_transfer(packet);
  if (packet.take("fThreadInfo")) return thread_list();
  if (packet.take("sThreadInfo")) return "l";
  if (packet.take("Attached")) return "1";
  if (packet.take("Symbol:")) return look_symbol_up(packet);
  if (packet.take("GetTLSAddr:")) return thread_local_address(packet);
  if (packet.take("Rcmd,")) {
    const auto bytes = from_hex(packet.rest());
    if (!bytes) return std::string(kError);
    const auto text =
        reply_to_command({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
    // An empty answer would say that there are no commands.
    return text.empty() ? std::string(kDone) : to_hex(text);
  }
  if (packet.rest() == "C") return fmt::format("QC{:x}", id_of(timeline_.now().current()));
  return {};
}

std::string Server::reply_to_transfer(Words packet) {
  if (packet.take("features:read:target.xml:"))
    return part_of(arch::target_description(), packet.rest());
  if (packet.take("auxv:read::")) return part_of(auxiliary_vector(), packet.rest());
  if (packet.take("threads:read::")) return part_of(threads_xml(), packet.rest());
  if (packet.take("exec-file:read:")) {
    packet.number();  // of the process: there is one
    if (!packet.take(":")) return std::string(kError);
    return part_of(timeline_.history().start().program, packet.rest());
  }
  return {};
}

std::string Server::go_back(bool one_step) {
  drop_trial();
  if (sought_) return go_to_sought();
  const auto thread = motion_thread_.value_or(timeline_.now().current());
  return report(Direction::backwards,
                [&] { return one_step ? timeline_.step_back(thread) : timeline_.run_back(); });
}

// No signal: GDB shows the place and says nothing of why it has stopped.
std::string Server::go_to_sought() {
  const auto sought = *std::exchange(sought_, std::nullopt);
  using timeline::Halt;
  constexpr Halt kThere{Halt::Kind::reached};
  if (const auto* memory = std::get_if<ChangedMemory>(&sought))
    return report(Direction::backwards, [&] {
      const Halt halt = timeline_.run_back_to_change(memory->at, memory->size_bytes);
      return halt.kind == Halt::Kind::watch ? kThere : halt;
    });
  const auto& position = std::get<Position>(sought);
  return report(position.at_end ? Direction::forwards : Direction::backwards, [&] {
    go_to(position);
    return kThere;
  });
}

std::string Server::resume(Words actions) {
  if (sought_) {
    drop_trial();
    return go_to_sought();
  }
  std::optional<std::uint64_t> id;
  timeline::Range range{};
  bool steps = false;
  for (bool more = true; more && !steps; more = actions.take(";")) {
    const bool in_range = actions.take("r");
    steps = in_range || actions.take("s") || actions.take("S");
    if (!steps && !actions.take("c") && !actions.take("C")) return std::string(kError);
    const auto first = actions.number();  // of a signal: those of the recording are delivered
    if (in_range && first && actions.take(","))
      range = {Addr{*first}, Addr{actions.number().value_or(*first)}};
    if (actions.take(":") && steps) id = actions.number();
    if (!steps) actions.number();
  }
  if (is_off_course()) return run_trial(steps);
  drop_trial();
  const auto thread = (id ? thread_of(*id) : std::nullopt).value_or(timeline_.now().current());
  return report(Direction::forwards,
                [&] { return steps ? timeline_.step(thread, range) : timeline_.run(); });
}

template <typename Motion>
std::string Server::report(Direction direction, const Motion& motion) {
  listens_ = true;
  std::string reply;
  try {
    reply = stop_reply(motion());
  } catch (const Error& error) {
    const bool interrupted = error.kind() == ErrorKind::interrupted;
    if (!interrupted) send("O" + to_hex(fmt::format("{}\n", error.what())));
    // There is no way past this.
    reply = interrupted                         ? stop_with(SIGINT, "")
            : direction == Direction::backwards ? stop_with(SIGTRAP, "replaylog:begin;")
                                                : stop_with(SIGTRAP, "replaylog:end;");
  }
  listens_ = false;
  return reply;
}

std::string Server::stop_reply(const timeline::Halt& halt) {
  using Kind = timeline::Halt::Kind;
  switch (halt.kind) {
    case Kind::breakpoint: {
      const Addr pc = shown().task().registers().pc();
      return stop_with(SIGTRAP, hardware_breakpoints_.contains(pc) ? "hwbreak:;" : "swbreak:;");
    }
    case Kind::watch:
      return stop_with(
          SIGTRAP, fmt::format("{}watch:{:x};", prefix_of(halt.watch.kind), halt.watch.at.value));
    case Kind::signal: return stop_with(halt.signal, "");
    case Kind::interrupted: return stop_with(SIGINT, "");
    case Kind::begin: return stop_with(SIGTRAP, "replaylog:begin;");
    case Kind::ended:
      if (auto end = program_end(); !end.empty()) return end;
      [[fallthrough]];
    case Kind::end: return stop_with(SIGTRAP, "replaylog:end;");
    case Kind::reached: return stop_with(0, "");
    case Kind::step: break;
  }
  return stop_with(SIGTRAP, "");
}

std::string Server::stop_with(int signal, std::string_view reason) {
  registers_thread_ = shown().current();
  std::string reply = fmt::format("T{:02x}thread:{:x};{}", protocol_signal(signal),
                                  id_of(registers_thread_), reason);
  const auto all = registers_of(registers_thread_);
  for (const auto number : arch::expedited_registers()) {
    const auto place = arch::described_register(number);
    reply += fmt::format("{:x}:{};", number,
                         to_hex(std::span(all).subspan(place.offset, place.size_bytes)));
  }
  return reply;
}

// Nothing where the recording ends before the program does.
std::string Server::program_end() const {
  constexpr unsigned kStatusMask = 0xff;
  const auto* event = timeline_.next();
  if (event == nullptr || event->kind != recording::EventKind::end) return {};
  if (event->reason == recording::EndReason::signal)
    return fmt::format("X{:02x}", protocol_signal(static_cast<int>(event->number)));
  if (event->reason != recording::EndReason::exited) return {};
  return fmt::format("W{:02x}", event->at.arg(0) & kStatusMask);
}

void Server::pass_signals(Words list) {
  std::set<int> signals;
  for (auto number = list.number(); number; number = list.number()) {
    signals.insert(signal_of_protocol(static_cast<int>(*number)));
    list.take(";");
  }
  timeline_.pass_signals(std::move(signals));
}

}  // namespace ckpt::debugserver
