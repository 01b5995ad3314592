#include "state/ipc/message_queues.hpp"

#include <fcntl.h>
#include <mqueue.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/text.hpp"

namespace ckpt::state {

namespace {

using image::Json;
using Message = MessageQueue::Message;

// With a time that has passed, calls that would wait fail at once.
constexpr timespec kNoWaiting{};

std::optional<mq_attr> attributes_of(int queue) {
  mq_attr attributes{};
  if (::syscall(SYS_mq_getsetattr, queue, nullptr, &attributes) != 0) return std::nullopt;
  return attributes;
}

// A descriptor for both directions, whatever the program's is for.
UniqueFd open_both_ways(int own) {
  return UniqueFd(::open(fmt::format("/proc/self/fd/{}", own).c_str(), O_RDWR | O_CLOEXEC));
}

std::vector<Message> take_messages(int queue, long most_bytes) {
  std::vector<Message> messages;
  std::string room(static_cast<std::size_t>(most_bytes), '\0');
  for (;;) {
    unsigned priority = 0;
    const ssize_t got = ::mq_timedreceive(queue, room.data(), room.size(), &priority, &kNoWaiting);
    if (got < 0) return messages;
    messages.push_back({priority, room.substr(0, static_cast<std::size_t>(got))});
  }
}

// Messages of one priority stay in their order.
void put_messages(int queue, const std::vector<Message>& messages) {
  for (std::size_t i = 0; i < messages.size(); ++i)
    if (::mq_timedsend(queue, messages[i].bytes.data(), messages[i].bytes.size(),
                       messages[i].priority, &kNoWaiting) != 0)
      throw_errno(fmt::format("put {} of {} messages back into a queue", messages.size() - i,
                              messages.size()),
                  errno);
}

// "QSIZE:10 NOTIFY:0 SIGNO:10 NOTIFY_PID:1234"
std::optional<std::uint64_t> status_field(int queue, std::string_view name) {
  std::array<char, 200> room{};
  const ssize_t got = ::pread(queue, room.data(), room.size(), 0);
  std::string_view text(room.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  while (!text.empty()) {
    std::string_view value = proc::next_word(text);
    if (proc::cut(value, ':') != name) continue;
    if (value.ends_with('\n')) value.remove_suffix(1);
    return proc::parse_number<std::uint64_t>(value);
  }
  return std::nullopt;
}

std::uint64_t bytes_in(const std::vector<Message>& messages) {
  std::uint64_t bytes = 0;
  for (const Message& message : messages) bytes += message.bytes.size();
  return bytes;
}

bool is_as_it_was(int found, const MessageQueue& queue) {
  struct stat status {};
  const auto attributes = attributes_of(found);
  return ::fstat(found, &status) == 0 && status.st_ino == queue.inode && attributes &&
         static_cast<std::size_t>(attributes->mq_curmsgs) == queue.messages.size() &&
         status_field(found, "QSIZE").value_or(0) == bytes_in(queue.messages);
}

// Nothing if it is not the one to be given.
UniqueFd find_queue(const MessageQueue& queue, bool apart, std::vector<std::string>& notes) {
  if (queue.name.empty()) return {};
  UniqueFd found(::mq_open(queue.name.c_str(), O_RDWR | O_CLOEXEC));
  const bool exists = static_cast<bool>(found) || errno != ENOENT;
  if (!apart && found && is_as_it_was(found.get(), queue)) return found;
  const std::string_view why = apart    ? "is used by the process that was saved"
                               : exists ? "has changed since the snapshot"
                                        : "is gone since the snapshot";
  notes.push_back(fmt::format("message queue {} {}: the program gets a private copy of what it was",
                              queue.name, why));
  return {};
}

UniqueFd make_queue(const MessageQueue& queue) {
  mq_attr attributes{};
  attributes.mq_maxmsg = queue.most_messages;
  attributes.mq_msgsize = queue.most_bytes;
  const std::string name = fmt::format("/ckpt-{}-{}", ::getpid(), queue.inode);
  UniqueFd made(::mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600, &attributes));
  if (!made) throw_errno("make a message queue", errno);
  ::mq_unlink(name.c_str());
  put_messages(made.get(), queue.messages);
  return made;
}

}  // namespace

MessageQueue read_message_queue(CaptureContext& context, const std::string& object, int own,
                                const std::string& target) {
  constexpr std::string_view kDeleted = " (deleted)";
  MessageQueue queue;
  if (!target.ends_with(kDeleted)) queue.name = target;
  struct stat status {};
  const auto attributes = attributes_of(own);
  if (!attributes || ::fstat(own, &status) != 0) throw_errno("look at a message queue", errno);
  queue.inode = status.st_ino;
  queue.mode = status.st_mode & 07777U;
  queue.most_messages = attributes->mq_maxmsg;
  queue.most_bytes = attributes->mq_msgsize;
  const UniqueFd both = open_both_ways(own);
  const auto notified = both ? status_field(both.get(), "NOTIFY_PID") : std::nullopt;
  if (notified && *notified != 0 && static_cast<Tid>(*notified) == context.process.pid())
    context.report.add(Severity::lost, object, "message queue",
                       fmt::format("the program is not told of a message in {} any more "
                                   "(mq_notify)",
                                   target));
  if (attributes->mq_curmsgs == 0) return queue;
  if (!both) {
    context.report.add(Severity::lost, object, "message queue",
                       fmt::format("{} messages in {} may not be read and do not come back",
                                   attributes->mq_curmsgs, target));
    return queue;
  }
  queue.messages = take_messages(both.get(), queue.most_bytes);
  put_messages(both.get(), queue.messages);
  return queue;
}

const image::Fields<Message>& fields_of(const Message* /*type*/) {
  static const image::Fields<Message> fields = {
      "message",
      {{"priority", &Message::priority, ""},
       image::Field<Message>::as<image::Bytes>("bytes", &Message::bytes, "")}};
  return fields;
}

const image::Fields<MessageQueue>& fields_of(const MessageQueue* /*type*/) {
  using Q = MessageQueue;
  static const image::Fields<Q> fields = {
      "message_queue",
      {{"name", &Q::name, "empty: removed"},
       {"inode", &Q::inode, ""},
       {"mode", &Q::mode, "permissions"},
       {"most_messages", &Q::most_messages, ""},
       {"most_bytes", &Q::most_bytes, "of a message"},
       {"messages", &Q::messages, "in the order in which they will be received"}},
      [](Q& queue) {
        if (queue.most_messages <= 0 || queue.most_bytes <= 0 ||
            queue.messages.size() > static_cast<std::size_t>(queue.most_messages))
          image::damaged("a message queue");
      }};
  return fields;
}

MessageQueues::~MessageQueues() {
  constexpr unsigned kPermissions = 0777;
  for (const auto& [inode, mode] : modes_) ::fchmod(queues_.at(inode).get(), mode & kPermissions);
}

UniqueFd MessageQueues::open(const MessageQueue& queue, int flags, bool apart,
                             std::vector<std::string>& notes) {
  UniqueFd& found = queues_[queue.inode];
  if (!found) found = find_queue(queue, apart, notes);
  if (!found) {
    found = make_queue(queue);
    modes_[queue.inode] = queue.mode;
  }
  return open_file(fmt::format("/proc/self/fd/{}", found.get()), flags & (O_ACCMODE | O_NONBLOCK));
}

}  // namespace ckpt::state
