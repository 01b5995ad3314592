// Commands of GDB's `monitor`: for users by themselves, as JSON for the extension.
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/signal_name.hpp"
#include "debugserver/server.hpp"

namespace ckpt::debugserver {

using Json = nlohmann::json;
using recording::Mark;

namespace {

// Programs and files may have names that are not UTF-8.
std::string line_of(const Json& json) {
  return json.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n";
}

std::string end_text(const Mark& mark) {
  switch (mark.reason) {
    case recording::EndReason::exited: return fmt::format("exited with status {}", mark.number);
    case recording::EndReason::signal:
      return "killed by " + signal_name(static_cast<int>(mark.number));
    case recording::EndReason::killed: return "killed";
    case recording::EndReason::refused: break;
  }
  return "the recording stops";
}

std::string_view kind_text(Mark::Kind kind) {
  switch (kind) {
    case Mark::Kind::signal: return "signal";
    case Mark::Kind::output: return "output";
    case Mark::Kind::thread_started:
    case Mark::Kind::thread_ended: return "thread";
    case Mark::Kind::end: break;
  }
  return "exit";
}

std::string mark_text(const Mark& mark) {
  switch (mark.kind) {
    case Mark::Kind::signal: return signal_name(static_cast<int>(mark.number));
    case Mark::Kind::output: return fmt::format("fd {}, {} bytes", mark.number, mark.bytes);
    case Mark::Kind::thread_started: return "started";
    case Mark::Kind::thread_ended: return "ended";
    case Mark::Kind::end: break;
  }
  return end_text(mark);
}

}  // namespace

std::string Server::reply_to_command(const std::string& command) {
  try {
    Words words(command);
    if (words.take("position")) return position_text();
    if (words.take("goto ")) return go_to_text(words.rest());
    if (words.take("seek ")) return seek(words.rest());
    if (words.take("last ")) return seek_change(words);
    if (words.take("keep")) {
      timeline_.keep();
      return {};
    }
    if (words.take("output ")) return show_output(words.rest());
    if (words.take("json position")) return position_json();
    if (words.take("json timeline")) return timeline_json();
  } catch (const Error& error) {
    return fmt::format("{}\n", error.what());
  }
  return "Commands: position; goto EVENT, goto begin, goto end; output on, output off\n";
}

std::string Server::go_to_text(std::string_view text) {
  const auto position = parse_position(text);
  if (!position) return fmt::format("\"{}\" is no position\n", text);
  go_to(*position);
  return position_text();
}

// GDB does not know that a command moves the program; it does know of a motion.
std::string Server::seek(std::string_view text) {
  const auto position =
      text == "kept" ? std::optional(Position{.kept = true}) : parse_position(text);
  if (!position) return fmt::format("\"{}\" is no position\n", text);
  const std::uint64_t last = timeline_.history().events();
  if (position->events > last)
    return fmt::format("there is no event {}: the last is {}\n", position->events, last);
  sought_ = position;
  return {};
}

std::string Server::seek_change(Words words) {
  const auto at = words.number();
  const auto size_bytes = words.take(" ") ? words.number() : std::nullopt;
  if (!at || size_bytes.value_or(0) == 0 || *size_bytes > kMostWatchedBytes)
    return "It is \"last ADDRESS SIZE\", in hexadecimal digits.\n";
  sought_ = ChangedMemory{Addr{*at}, *size_bytes};
  return {};
}

std::string Server::show_output(std::string_view text) {
  if (text != "on" && text != "off") return "It is \"output on\" or \"output off\".\n";
  timeline_.show_output(text == "off"
                            ? timeline::Timeline::Show()
                            : [this](std::string_view shown) { send("O" + to_hex(shown)); });
  return {};
}

std::string Server::position_text() const {
  constexpr double kPercent = 100;
  const auto last = timeline_.history().events();
  const auto now = timeline_.now().events();
  return fmt::format(
      "event {} of {} ({:.1f} %), thread {}\n", now, last,
      last == 0 ? 0 : kPercent * static_cast<double>(now) / static_cast<double>(last),
      id_of(timeline_.now().current()));
}

std::string Server::position_json() const {
  const auto& now = timeline_.now();
  const auto signal = timeline_.signal_at_hand();
  const auto* next = timeline_.next();
  return line_of({{"event", now.events()},
                  {"events", timeline_.history().events()},
                  {"thread", id_of(now.current())},
                  {"program", timeline_.history().start().program},
                  {"file", file_},
                  {"signal", signal ? Json(signal_name(signal->signal)) : Json()},
                  {"at_end", next == nullptr ||
                                 (next->kind == recording::EventKind::end && timeline_.at_end())}});
}

std::string Server::timeline_json() const {
  Json marks = Json::array();
  for (const auto& mark : timeline_.history().marks().all())
    marks.push_back({{"event", mark.event},
                     {"kind", kind_text(mark.kind)},
                     {"thread", id_of(mark.thread)},
                     {"what", mark_text(mark)}});
  return line_of({{"event", timeline_.now().events()},
                  {"events", timeline_.history().events()},
                  {"marks", std::move(marks)}});
}

}  // namespace ckpt::debugserver
