// A server of GDB's remote serial protocol over a recording. Goes by what GDB asks for, in all-stop
// mode, and changes nothing of what was recorded: what GDB writes, and functions that it calls, are
// tried on a copy.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>

#include "debugserver/packets.hpp"
#include "timeline/timeline.hpp"
#include "timeline/trial.hpp"

namespace ckpt::debugserver {

/// No more memory is watched at once: its value is compared at each step.
inline constexpr std::uint64_t kMostWatchedBytes = 1U << 16U;

/// Where a session begins.
struct Position {
  bool at_end = false;
  std::uint64_t events = 0;
  bool kept = false;  // the one that was kept last
};
/// "begin", "end", or a number of events. Nothing for anything else.
std::optional<Position> parse_position(std::string_view text);

class Server {
 public:
  /// Talks to GDB on these descriptors. Throws Error where there is nothing to replay.
  Server(const std::string& recording, int input, int output);

  /// Throws Error (usage) where the recording has no such event.
  void go_to(const Position& position);
  /// Until GDB has enough.
  void serve();

 private:
  enum class Direction : std::uint8_t { forwards, backwards };

  bool receive(std::string& packet);
  void send(std::string_view content);
  [[nodiscard]] bool input_waits() const;
  void answer(const std::string& packet);
  std::string reply_to(Words packet);
  std::string reply_to_query(Words packet);
  std::string reply_to_transfer(Words packet);

  // commands.cpp: what GDB's `monitor` hands over
  std::string reply_to_command(const std::string& command);
  std::string go_to_text(std::string_view text);
  std::string seek(std::string_view text);
  std::string seek_change(Words words);
  std::string show_output(std::string_view text);
  [[nodiscard]] std::string position_text() const;
  [[nodiscard]] std::string position_json() const;
  [[nodiscard]] std::string timeline_json() const;

  // motions
  std::string resume(Words actions);
  std::string go_back(bool one_step);
  std::string go_to_sought();
  template <typename Motion>
  std::string report(Direction direction, const Motion& motion);
  std::string stop_reply(const timeline::Halt& halt);
  std::string stop_with(int signal, std::string_view reason);
  std::string program_end() const;
  void pass_signals(Words list);

  // trials.cpp
  timeline::Trial& trial();
  [[nodiscard]] bool is_off_course() const;
  std::string run_trial(bool one_step);
  void drop_trial();
  std::string write_registers(Words packet);
  std::string write_one_register(Words packet);
  std::string write_memory(Words packet, bool binary);
  template <typename Change>
  std::string change_registers(const Change& change);

  // what is there
  [[nodiscard]] const replayer::Replay& shown() const;
  [[nodiscard]] std::uint64_t id_of(std::uint32_t thread) const;
  [[nodiscard]] std::optional<std::uint32_t> thread_of(std::uint64_t id) const;
  [[nodiscard]] bool is_alive(std::uint32_t thread) const;
  [[nodiscard]] std::vector<std::byte> registers_of(std::uint32_t thread) const;
  std::string select_thread(Words packet);
  [[nodiscard]] std::string one_register(Words packet) const;
  [[nodiscard]] std::string read_memory(Words packet) const;
  std::string change_breakpoint(Words packet, bool insert);
  std::string change_watch(Words packet, timeline::Watch::Kind kind, bool insert);
  [[nodiscard]] std::string thread_list() const;
  [[nodiscard]] std::string threads_xml() const;
  std::string look_symbol_up(Words packet);
  [[nodiscard]] std::string thread_local_address(Words packet) const;
  [[nodiscard]] timeline::Breakpoints::Condition condition_in(Words packet) const;
  [[nodiscard]] std::string auxiliary_vector() const;

  int input_;
  int output_;
  timeline::Timeline timeline_;
  PacketReader reader_;
  std::string last_sent_;
  bool acknowledges_ = true;
  bool listens_ = false;  // to an interruption of what is under way
  bool over_ = false;
  std::set<Addr> hardware_breakpoints_;
  std::uint32_t registers_thread_ = 0;
  std::optional<std::uint32_t> motion_thread_;
  std::string file_;
  std::optional<timeline::Trial> trial_;
  std::optional<Addr> module_offset_;  // libc's: where a link_map has the number of its module
  struct ChangedMemory {
    Addr at;
    std::uint64_t size_bytes = 0;
  };
  // By the next motion, whatever that is.
  std::optional<std::variant<Position, ChangedMemory>> sought_;
};

}  // namespace ckpt::debugserver
