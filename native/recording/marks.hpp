// What a user may look for in a recording: signals, output, threads that come and go, its end.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "recording/event.hpp"
#include "tracee/memory.hpp"

namespace ckpt::recording {

/// What an event has written to standard output or error: nothing for any other event.
struct Output {
  int fd = 0;
  std::uint64_t bytes = 0;
};
std::optional<Output> output_of(const Event& event);
/// What that was, of which no more than a mebibyte; the call has left its buffers as they were.
std::string read_output(const Event& event, const tracee::Memory& memory);

struct Mark {
  enum class Kind : std::uint8_t { signal, output, thread_started, thread_ended, end };
  std::uint64_t event = 0;  // its number
  Kind kind = Kind::signal;
  std::uint32_t thread = 0;  // of a thread that comes: that one
  std::int64_t number = 0;   // of the signal, or the descriptor
  std::uint64_t bytes = 0;   // of output
  EndReason reason = EndReason::exited;
};

/// Collects marks. Where there are very many of a kind only every Nth of them is kept.
class Marks {
 public:
  void note(std::uint64_t index, const Event& event);
  [[nodiscard]] const std::vector<Mark>& all() const { return all_; }
  /// How many there were of that kind.
  [[nodiscard]] std::uint64_t count(Mark::Kind kind) const;

 private:
  struct Kept {
    std::uint64_t seen = 0;
    std::uint64_t every = 1;
    std::uint64_t held = 0;
  };
  void add(const Mark& mark);
  void thin_out(Mark::Kind kind, Kept& kept);

  std::vector<Mark> all_;
  std::array<Kept, 5> kept_{};
};

}  // namespace ckpt::recording
