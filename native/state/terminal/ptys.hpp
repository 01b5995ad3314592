// Pseudoterminals whose master is in the program: both ends come back as a new pair, with modes,
// window size and what waits in either direction.
#pragma once

#include <sys/ioctl.h>
#include <termios.h>

#include <cstdint>
#include <string>

#include "base/unique_fd.hpp"
#include "image/format.hpp"
#include "state/context.hpp"

namespace ckpt::state {

struct Pty {
  int index = -1;  // of /dev/pts/; master and slaves of a pair have the same
  termios modes{};
  winsize size{};
  bool locked = false;
  bool packets = false;     // TIOCPKT
  bool slave_open = false;  // whether any process had the slave open
  bool exclusive = false;   // of a slave: TIOCEXCL
  std::string input;        // written to the master, not read from the slave
  std::string output;       // the other way
};

/// `master`: our duplicate of the descriptor. What waits in the pair is taken out and put back; the
/// program, and all others that use the pair, must be stopped.
/// Throws Error (system) when it could not all be put back.
Pty read_pty(CaptureContext& context, int master, int index);

image::Json pty_to_json(const Pty& pty);
Pty pty_from_json(const image::Json& json);

/// Makes a new pair; returns its master. `flags` as in open(2).
UniqueFd make_pty(const Pty& pty, int flags);
/// A descriptor for the other end.
UniqueFd open_slave(int master, int flags);
/// Gives the pair modes, size and content. The slave is opened for it, and closed again.
void fill_pty(int master, const Pty& pty);

}  // namespace ckpt::state
