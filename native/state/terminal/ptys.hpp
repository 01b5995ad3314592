// Pseudoterminals whose master is in the program: both ends come back as a new pair, with modes,
// window size and what waits in either direction.
#pragma once

#include <sys/ioctl.h>

#include "base/unique_fd.hpp"
#include "image/fields.hpp"
#include "state/context.hpp"
#include "state/terminal/pty_content.hpp"

namespace ckpt::state {

struct Pty {
  enum class Slave { open, closed, never_open };
  int index = -1;  // of /dev/pts/; master and slaves of a pair have the same
  PtySettings settings;
  winsize size{};
  bool locked = false;
  Slave slave = Slave::closed;  // in any process
  bool exclusive = false;       // of a slave: TIOCEXCL
  bool hung_up = false;         // likewise: its master is closed
  struct Owner {
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
  };
  std::optional<Owner> owner;  // of its name, if it was given to another user or group
  std::uint32_t mode = kUsualMode;
  PtyContent content;

  static constexpr std::uint32_t kUsualMode = 0620;
};

/// `master`: our duplicate of the descriptor. What waits in the pair is taken out and put back; the
/// program, and all others that use the pair, must be stopped.
/// Throws Error (system) when it could not all be put back.
Pty read_pty(CaptureContext& context, int master, int index);

const image::Fields<Pty>& fields_of(const Pty* /*type*/);

/// Makes a new pair; returns its master. `flags` as in open(2).
UniqueFd make_pty(const Pty& pty, int flags);
/// The slave of a pair whose master is closed.
UniqueFd make_hung_up(int flags);
/// A descriptor for the other end.
UniqueFd open_slave(int master, int flags);
/// Gives the pair modes, size and content. The slave is opened for it, and closed again.
/// Returns why the other end has not the owner or the permissions that it had; else "".
[[nodiscard]] std::string fill_pty(int master, const Pty& pty);

}  // namespace ckpt::state
