// What waits in a pseudoterminal. The kernel shows it to a reader alone, who takes it away: it is
// put back so that all who use the pair read what they would have read.
//
// A slave hands over lines (ICANON): how far a read goes is kept beside the bytes. It is lost when
// that mode is left, so lines are taken and put back in it. What else gives bytes a meaning is off
// meanwhile.
#pragma once

#include <termios.h>

#include <string>
#include <vector>

#include "image/fields.hpp"

namespace ckpt::state {

struct PtyContent {
  /// What one read takes.
  struct Line {
    std::string bytes;
    bool marked = false;  // ended by an end of file (Ctrl-D), not by its last byte
  };
  /// What has stopped the output of the slave.
  enum class Stop { none, typed, flow };  // Ctrl-S; tcflow(3)
  std::vector<Line> lines;          // of a slave that hands over lines: those that are complete
  bool lines_are_in_input = false;  // of older files, whose lines are not told apart
  std::string input;                // behind them: written to the master, not read from the slave
  std::string output;               // the other way
  std::string echo;                 // waits for the output to go on, which is stopped
  Stop stop = Stop::none;
  bool master_stopped = false;  // tcflow(3)
  unsigned status = 0;          // TIOCPKT_..., which the next read of the master tells

  [[nodiscard]] bool empty() const {
    return lines.empty() && input.empty() && output.empty() && stop == Stop::none &&
           !master_stopped && status == 0;
  }
};

/// How the pair is set at the time.
struct PtySettings {
  termios modes{};
  bool packets = false;  // TIOCPKT
};

/// Whether the slave hands over lines.
bool hands_over_lines(const termios& modes);

/// Takes all out, so far as it gets: leaves the modes changed. `slave` and `master` need not wait.
void take_content(int master, int slave, const PtySettings& settings, PtyContent& content);
/// Puts it into the pair, which is empty, and sets that. Throws Error (system).
void put_content(int master, int slave, const PtySettings& settings, const PtyContent& content);

const image::Fields<PtyContent::Line>& fields_of(const PtyContent::Line* /*type*/);
const image::Fields<PtyContent>& fields_of(const PtyContent* /*type*/);
/// Tells the lines of older files apart. Throws Error (damaged) for lines that a terminal in these
/// modes does not hand over.
void check_content(PtyContent& content, const termios& modes);

}  // namespace ckpt::state
