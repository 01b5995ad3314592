// Kinds of descriptions whose objects are described elsewhere: pipes, sockets, pseudoterminals,
// message queues, io_uring.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <cerrno>

#include "base/error.hpp"
#include "state/descriptors/kinds.hpp"
#include "state/descriptors/pipes.hpp"
#include "state/ipc/message_queues.hpp"
#include "state/rings/io_uring.hpp"
#include "state/sockets/sockets.hpp"
#include "state/terminal/ptys.hpp"

namespace ckpt::state {

namespace {

UniqueFd open_master(const Description& description, const Opening& opening) {
  const int master = opening.pty_masters.at(description.get<Pty>().index).get();
  return UniqueFd(::fcntl(master, F_DUPFD_CLOEXEC, 3));
}

UniqueFd open_other_end(const Description& description, const Opening& opening) {
  const int flags = static_cast<int>(description.flags) & (O_ACCMODE | O_NONBLOCK);
  if (description.get<Pty>().hung_up) return make_hung_up(flags);
  const auto master = opening.pty_masters.find(description.get<Pty>().index);
  if (master == opening.pty_masters.end()) image::damaged("a pseudoterminal");
  UniqueFd fd = open_slave(master->second.get(), flags);
  if (!fd) throw_errno("open the other end of a pseudoterminal", errno);
  return fd;
}

// When all of them are open.
void make_exclusive(const Description& description, const Linking& linking) {
  if (description.get<Pty>().exclusive)
    linking.inferior.attempt(SYS_ioctl, {linking.number, TIOCEXCL});
}

UniqueFd open_queue(const Description& description, const Opening& opening) {
  std::vector<std::string> notes;
  UniqueFd fd =
      opening.queues.open(description.get<MessageQueue>(), static_cast<int>(description.flags),
                          opening.files.apart(""), notes);
  for (const auto& note : notes) opening.files.note(note);
  return fd;
}

void link_ring(const Description& description, const Linking& linking) {
  link_io_uring(linking.inferior, linking.number, description.get<IoUring>(),
                fmt::format("fd {}", linking.number),
                [&](std::size_t other) { return number_of(linking.table, other); });
}

}  // namespace

const DescriptorKind kinds::kPipe = {
    .name = "pipe",
    .details = &kDetails<Pipe>,
    .open = [](const Description& description, const Opening& opening) {
      return opening.pipes.open(description.get<Pipe>(), description.flags);
    }};

// They are made together (SocketMaker).
const DescriptorKind kinds::kSocket = {.name = "socket", .details = &kDetails<Socket>};

const DescriptorKind kinds::kPtyMaster = {
    .name = "pty_master", .details = &kDetails<Pty>, .open = open_master, .link = make_exclusive};

const DescriptorKind kinds::kPtySlave = {
    .name = "pty_slave", .details = &kDetails<Pty>, .open = open_other_end, .link = make_exclusive};

const DescriptorKind kinds::kMessageQueue = {
    .name = "message_queue", .details = &kDetails<MessageQueue>, .open = open_queue};

const DescriptorKind kinds::kIoUring = {
    .name = "io_uring",
    .details = &kDetails<IoUring>,
    .make =
        [](const Description& description, const Making& making) {
          return make_io_uring(making.inferior, description.get<IoUring>());
        },
    .link = link_ring,
    .start = [](const Description& description, RestoreContext& inferior,
                int number) { start_io_uring(inferior, number, description.get<IoUring>()); }};

}  // namespace ckpt::state
