// What was typed on the program's terminal and not read yet. The kernel does not show it: it has
// to be read, so taken away, and typed again (TIOCSTI).
#pragma once

#include <string>

#include "base/unique_fd.hpp"
#include "image/codecs.hpp"
#include "state/context.hpp"

namespace ckpt::state {

/// What is to be done about the terminal's input at a save.
struct InputRequest {
  /// The program is on our own controlling terminal, and what is typed there is typed for it and
  /// not for us: a debugger has not asked for a command since the program ran.
  bool ours_is_the_programs = false;
  /// Nothing may be taken away, for the shortest time: it is only named.
  bool look_only = false;
  /// What an earlier restore has to give to the program and has not given yet.
  std::string owed;
};

/// Keeps what was typed ahead, and gives it back to the terminal; the save's report names it where
/// the kernel does not let us. Only of the terminal that controls the program, and in whose
/// foreground it is. Precondition: the program is stopped. `terminal` may be empty.
std::string capture_input(CaptureContext& context, const UniqueFd& terminal,
                          const InputRequest& request);

/// What was typed, as a list of bytes.
struct TypedInput {
  static image::Json write(const std::string& input);
  static std::string read(const image::Json& json);
  static image::Json type(image::Catalog& catalog);
};

/// Whether the kernel lets us type on that terminal (dev.tty.legacy_tiocsti, CAP_SYS_ADMIN). Asked
/// without typing anything.
bool may_type(int terminal);

/// Takes what was typed on that terminal and not read. In a terminal that hands over lines a
/// zero byte stands for an end of file (Ctrl-D). Precondition: when it is our controlling terminal
/// we are in its foreground. Throws Error (system), and nothing is taken then.
std::string take_input(int terminal);

/// Types on that terminal what take_input() has returned; it means what it meant. With `echo` the
/// terminal shows it if its modes say so. Throws Error (system).
void type_input(int terminal, const std::string& input, bool echo);

/// Types `input` before what has been typed there since and is not read. Precondition as that of
/// take_input(). What is typed in the microseconds this takes comes before it. Throws Error
/// (system).
void type_first(int terminal, const std::string& input, bool echo);

/// What to tell a user when it cannot be typed: the text, and why.
std::string cannot_type(const std::string& input, bool no_terminal);

}  // namespace ckpt::state
