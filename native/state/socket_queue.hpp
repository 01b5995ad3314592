// What waits in a socket to be received, looked at and left there: messages, and errors.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"

namespace ckpt::state {

/// What waits to be received.
struct SocketMessage {
  std::string bytes;
  std::string from;                      // address of the sender, if it has one
  std::vector<std::size_t> descriptors;  // passed along (SCM_RIGHTS): descriptions
};

/// Describes a descriptor that was passed along with a message; takes it over.
using DescribePassed = std::function<std::size_t(UniqueFd)>;

/// An option of SOL_SOCKET; -1 if it cannot be had.
int int_option(int own, int name);

/// Whether the program has not been told yet of an error, or of an entry in the queue of errors.
/// The next receive would take it, also one that only looks, and so would SO_ERROR: which one it is
/// cannot be found out without taking it from the program.
bool has_unread_error(int own);

/// `own`: our duplicate of the descriptor, of a socket that no running thread uses. `whole`:
/// messages have boundaries. Those behind an unread error cannot be looked at: `hidden` gets
/// whether there are any.
std::vector<SocketMessage> look_at_queue(int own, bool whole, const DescribePassed& describe_passed,
                                         bool& hidden);

}  // namespace ckpt::state
