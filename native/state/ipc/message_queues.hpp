// POSIX message queues (mq_overview(7)), which are descriptors on Linux.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "image/fields.hpp"
#include "state/context.hpp"

namespace ckpt::state {

struct MessageQueue {
  struct Message {
    unsigned priority = 0;
    std::string bytes;
  };
  std::string name;  // "/name"; empty for one that was removed
  std::uint64_t inode = 0;
  unsigned mode = 0;
  long most_messages = 0;
  long most_bytes = 0;            // of a message
  std::vector<Message> messages;  // in the order in which they will be received
};

/// `own`: our duplicate of the descriptor. Messages are taken out and put back: the program must be
/// stopped. Throws Error (system) when they could not all be put back.
MessageQueue read_message_queue(CaptureContext& context, const std::string& object, int own,
                                const std::string& target);

const image::Fields<MessageQueue::Message>& fields_of(const MessageQueue::Message* /*type*/);
const image::Fields<MessageQueue>& fields_of(const MessageQueue* /*type*/);

/// The queues of a program, each found or made once.
class MessageQueues {
 public:
  MessageQueues() = default;
  /// Gives those that were made their permissions, which do not matter before.
  ~MessageQueues();
  MessageQueues(const MessageQueues&) = delete;
  MessageQueues& operator=(const MessageQueues&) = delete;
  /// A description of its own for the queue itself if it is as it was and the program need not be
  /// kept `apart` from the one that was saved, else for a new one of no name; `flags` as in
  /// mq_open(3). Says in `notes` when it is another one.
  UniqueFd open(const MessageQueue& queue, int flags, bool apart, std::vector<std::string>& notes);

 private:
  std::map<std::uint64_t, UniqueFd> queues_;  // by their inodes
  std::map<std::uint64_t, unsigned> modes_;   // of those that were made
};

}  // namespace ckpt::state
