// What waits in a socket to be received, looked at and left there: messages, and errors.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"

namespace ckpt::state {

/// Of one byte in TCP that was sent with MSG_OOB: whether it was received with it, so that only the
/// mark is still to come.
enum class Urgency { none, unread, taken };

/// What waits to be received.
struct SocketMessage {
  std::string bytes;
  std::string from;                      // address of the sender, if it has one
  std::vector<std::size_t> descriptors;  // passed along (SCM_RIGHTS): descriptions
  Urgency urgency = Urgency::none;
};

/// Describes a descriptor that was passed along with a message; takes it over.
using DescribePassed = std::function<std::size_t(UniqueFd)>;

/// An option of SOL_SOCKET; -1 if it cannot be had.
int int_option(int own, int name);

/// Whether the program has not been told yet of an error, or of an entry in the queue of errors.
/// The next receive would take it, also one that only looks, and so would SO_ERROR: which one it is
/// cannot be found out without taking it from the program.
bool has_unread_error(int own);

struct SocketQueue {
  std::vector<SocketMessage> messages;
  bool hidden = false;       // there is something behind an unread error that cannot be looked at
  bool urgent_lost = false;  // a byte sent with MSG_OOB, and what is behind it, if it is TCP
};

enum class QueueKind { messages, stream, tcp };

/// `own`: our duplicate of the descriptor, of a socket that no running thread uses.
SocketQueue look_at_queue(int own, QueueKind kind, const DescribePassed& describe_passed);

}  // namespace ckpt::state
