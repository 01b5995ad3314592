#include "state/descriptors/pipes.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>

#include "base/error.hpp"
#include "base/io.hpp"
#include "base/types.hpp"

namespace ckpt::state {

namespace {

using image::Json;

constexpr std::uint32_t kLargeFile = 0100000;  // O_LARGEFILE, which is 0 to programs of 64 bits
constexpr std::uint32_t kPermissions = 0777;
constexpr int kWriter = O_WRONLY | O_NONBLOCK | O_CLOEXEC;

// Copies what is in a pipe without taking it out: one piece, or one for each packet.
std::vector<std::string> pipe_content(int reader, std::uint64_t capacity_bytes) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) throw_errno("pipe", errno);
  const UniqueFd out(ends[0]);
  const UniqueFd in(ends[1]);
  ::fcntl(in.get(), F_SETPIPE_SZ, static_cast<int>(capacity_bytes));
  std::vector<std::string> content;
  if (::tee(reader, in.get(), capacity_bytes, SPLICE_F_NONBLOCK) <= 0) return content;
  std::string buffer(std::max<std::uint64_t>(capacity_bytes, kPageSize), '\0');
  for (;;) {
    const ssize_t n = ::read(out.get(), buffer.data(), buffer.size());
    if (n <= 0) return content;
    content.push_back(buffer.substr(0, static_cast<std::size_t>(n)));
  }
}

// Of a FIFO in which nothing waits.
bool has_writer(int reader) {
  char byte = 0;
  return ::read(reader, &byte, sizeof byte) < 0 && errno == EAGAIN;
}

// A name that the program has removed in an earlier run from the same snapshot, say.
bool make_again(const std::string& path, std::uint32_t mode) {
  return ::mkfifo(path.c_str(), 0600) == 0 && ::chmod(path.c_str(), mode) == 0;
}

// One that has lost its name. It has one for a moment only, as make_removed() has it.
bool make_nameless_fifo(std::uint32_t mode, UniqueFd& reader, UniqueFd& writer) {
  std::string directory = (std::filesystem::temp_directory_path() / "ckpt-XXXXXX").string();
  if (::mkdtemp(directory.data()) == nullptr) return false;
  const std::string path = directory + "/fifo";
  if (make_again(path, 0600)) {
    reader.reset(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    writer.reset(::open(path.c_str(), kWriter));
    ::unlink(path.c_str());
  }
  ::rmdir(directory.c_str());
  if (!reader || !writer) return false;
  ::fchmod(reader.get(), mode);
  ::fcntl(writer.get(), F_SETFL, O_WRONLY);
  return true;
}

}  // namespace

Pipe read_pipe(int reader, std::uint64_t id) {
  constexpr std::uint64_t kUsualBytes = 65536;
  Pipe pipe;
  pipe.id = id;
  const int capacity = ::fcntl(reader, F_GETPIPE_SZ);
  pipe.capacity_bytes = capacity > 0 ? static_cast<std::uint64_t>(capacity) : kUsualBytes;
  pipe.content = pipe_content(reader, pipe.capacity_bytes);
  return pipe;
}

bool has_ended(int end) {
  pollfd state{end, 0, 0};
  return ::poll(&state, 1, 0) == 1 && (state.revents & (POLLHUP | POLLERR)) != 0;
}

const image::Fields<Pipe>& fields_of(const Pipe* /*type*/) {
  using enum image::Presence;
  static const image::Fields<Pipe> fields = {
      "pipe",
      {{"id", &Pipe::id, "names the pipe: descriptions with the same number are ends of one"},
       {"capacity", &Pipe::capacity_bytes, "in bytes, 0 when unknown"},
       {"named", &Pipe::named, "a FIFO"},
       {"device", &Pipe::device, "of a FIFO"},
       {"mode", &Pipe::mode, "likewise: permissions", later},
       {"removed", &Pipe::removed, "likewise: its name", later},
       {"ended", &Pipe::ended, "no process had the other end; if it is missing, that is not known",
        later},
       image::Field<Pipe>::as<image::List<std::string, image::Bytes>>(
           "content", &Pipe::content,
           "what is in it, in its order, a packet (`O_DIRECT`) an item of its own")},
      [](Pipe& pipe) { pipe.mode &= kPermissions; }};
  return fields;
}

std::string PipeMaker::open_named(const std::string& path, const Pipe& pipe, Ends& ends) {
  if (files_.apart(path)) return "is used by the process that was saved";
  struct stat status {};
  bool is_new = false;
  if (::stat(path.c_str(), &status) != 0) {
    if (errno != ENOENT || !make_again(path, pipe.mode))
      return fmt::format("cannot be had ({})", describe_errno(errno));
    if (::stat(path.c_str(), &status) != 0) return "cannot be had";
    is_new = true;
    files_.note(fmt::format("FIFO {} was removed since the save: it is made again", path));
  }
  if (!S_ISFIFO(status.st_mode)) return "is another kind of file by now";
  // An overlay has another device.
  const bool is_same = is_new || (status.st_ino == pipe.id &&
                                  (status.st_dev == pipe.device || files_.in_sandbox(path)));
  // It cannot be opened for writing as long as there is no reader.
  const UniqueFd probe(::open(path.c_str(), kWriter));
  ends.reader.reset(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  int waiting = 0;
  if (!ends.reader || ::ioctl(ends.reader.get(), FIONREAD, &waiting) != 0)
    return fmt::format("cannot be read ({})", describe_errno(errno));
  if (waiting != 0) return "is not empty";
  if (!is_same && (probe || has_writer(ends.reader.get())))
    return "is another one by now, which another process uses";
  ends.writer.reset(::open(path.c_str(), kWriter));
  if (!ends.writer) return fmt::format("cannot be written to ({})", describe_errno(errno));
  ends.has_reader = files_.options().peers == PeersMode::silent && probe;
  return "";
}

void PipeMaker::make(const Pipe& pipe, const std::string& path, bool packets) {
  if (made_.contains(pipe.id)) return;
  Ends ends;
  ends.ended = pipe.ended;
  const bool has_name = pipe.named && !pipe.removed;
  const std::string why_not = has_name ? open_named(path, pipe, ends) : "it has none";
  if (has_name && !why_not.empty())
    files_.note(fmt::format("FIFO {} {}: the program gets a pipe of its own", path, why_not));
  const bool is_nameless =
      pipe.named && pipe.removed && make_nameless_fifo(pipe.mode, ends.reader, ends.writer);
  if (!why_not.empty() && !is_nameless) {
    std::array<int, 2> both{};
    // pipe2(2) gives O_DIRECT (packets) to the writing end alone, so any end may ask for it.
    if (::pipe2(both.data(), O_CLOEXEC | (packets ? O_DIRECT : 0)) != 0)
      throw_errno("make a pipe", errno);
    ends.reader.reset(both[0]);
    ends.writer.reset(both[1]);
  }
  made_.emplace(pipe.id, std::move(ends));
}

void PipeMaker::fill(const Pipe& pipe) {
  Ends& ends = made_.at(pipe.id);
  const int writer = ends.writer.get();
  if (pipe.capacity_bytes != 0)
    ::fcntl(writer, F_SETPIPE_SZ, static_cast<int>(pipe.capacity_bytes));
  if (pipe.content.empty() || std::exchange(ends.filled, true)) return;
  const int flags = ::fcntl(writer, F_GETFL);
  ::fcntl(writer, F_SETFL, flags | O_NONBLOCK);
  for (const auto& piece : pipe.content) write_all(writer, piece, "a pipe's content");
  ::fcntl(writer, F_SETFL, flags);
}

UniqueFd PipeMaker::open(const Pipe& pipe, std::uint32_t flags) {
  Ends& ends = made_.at(pipe.id);
  ends.has_reader = ends.has_reader || (flags & O_ACCMODE) != O_WRONLY;
  ends.has_writer = ends.has_writer || (flags & O_ACCMODE) != O_RDONLY;
  const bool writes = (flags & O_ACCMODE) == O_WRONLY;
  const int end = writes ? ends.writer.get() : ends.reader.get();
  const int wanted = static_cast<int>(flags) & (O_ACCMODE | O_NONBLOCK | O_DIRECT);
  // What open(2) opens has this flag, which F_SETFL cannot take away; an end from pipe2(2) has not.
  const bool opened = (flags & kLargeFile) != 0;
  // Packet mode (O_DIRECT) is for pipe2(2) and F_SETFL alone: open(2) says EINVAL.
  UniqueFd fd =
      !opened && !std::exchange(ends.given.at(writes ? 1 : 0), true)
          ? UniqueFd(::fcntl(end, F_DUPFD_CLOEXEC, 3))
          : open_file(fmt::format("/proc/self/fd/{}", end), (wanted & ~O_DIRECT) | O_NONBLOCK);
  ::fcntl(fd.get(), F_SETFL, wanted);
  return fd;
}

std::map<std::uint64_t, UniqueFd> PipeMaker::take_far_ends() {
  std::map<std::uint64_t, UniqueFd> far_ends;
  for (auto& [id, ends] : made_)
    if (!ends.ended && ends.has_reader != ends.has_writer)
      far_ends.emplace(id, std::move(ends.has_reader ? ends.writer : ends.reader));
  return far_ends;
}

}  // namespace ckpt::state
