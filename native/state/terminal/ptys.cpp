#include "state/terminal/ptys.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/error.hpp"
#include "base/io.hpp"

namespace ckpt::state {

namespace {

using image::Json;

constexpr int kTimeoutMs = 2000;

termios modes_of(int fd) {
  termios modes{};
  if (::tcgetattr(fd, &modes) != 0) throw_errno("read a pseudoterminal's modes", errno);
  return modes;
}

void set_modes(int fd, const termios& modes) {
  if (::tcsetattr(fd, TCSANOW, &modes) != 0) throw_errno("set a pseudoterminal's modes", errno);
}

// Every byte passes as it is, in both directions, and reading does not wait.
termios raw(termios modes) {
  modes.c_iflag = 0;
  modes.c_oflag = 0;
  modes.c_lflag = 0;
  modes.c_cc[VMIN] = 0;
  modes.c_cc[VTIME] = 0;
  return modes;
}

// The same, but lines stay lines: how many a read takes depends on it. No byte has a meaning but
// the newline.
termios raw_lines(termios modes) {
  const bool lines = (modes.c_lflag & ICANON) != 0;
  modes = raw(modes);
  if (!lines) return modes;
  modes.c_lflag = ICANON;
  std::fill(std::begin(modes.c_cc), std::end(modes.c_cc), cc_t{0});  // _POSIX_VDISABLE
  return modes;
}

void set_packets(int master, bool on) {
  const int value = on ? 1 : 0;
  ::ioctl(master, TIOCPKT, &value);
}

// poll(2) makes the kernel hand over what is still on its way between the two ends.
bool readable(int fd) {
  pollfd ready{fd, POLLIN, 0};
  return ::poll(&ready, 1, 0) > 0 && (ready.revents & POLLIN) != 0;
}

std::string drain(int fd) {
  std::string content;
  std::array<char, 4096> piece{};
  while (readable(fd)) {
    const ssize_t got = ::read(fd, piece.data(), piece.size());
    if (got <= 0) break;
    content.append(piece.data(), static_cast<std::size_t>(got));
  }
  return content;
}

void pour(int into, int other_end, const std::string& content) {
  std::size_t done = 0;
  while (done < content.size()) {
    pollfd ready{into, POLLOUT, 0};
    if (::poll(&ready, 1, kTimeoutMs) <= 0) break;
    const ssize_t put = ::write(into, content.data() + done, content.size() - done);
    if (put <= 0) break;
    done += static_cast<std::size_t>(put);
  }
  readable(other_end);
  if (done < content.size())
    fail(ErrorKind::system, "{} bytes that waited in a pseudoterminal could not be put back",
         content.size() - done);
}

void put_content(int master, int slave, const Pty& pty) {
  set_packets(master, false);
  if (!pty.input.empty()) {
    set_modes(slave, raw_lines(pty.modes));
    pour(master, slave, pty.input);
  }
  if (!pty.output.empty()) {
    set_modes(slave, raw(pty.modes));
    pour(slave, master, pty.output);
  }
  set_modes(slave, pty.modes);
  set_packets(master, pty.packets);
}

}  // namespace

UniqueFd open_slave(int master, int flags) {
  return UniqueFd(::ioctl(master, TIOCGPTPEER, flags | O_NOCTTY | O_CLOEXEC));
}

Pty read_pty(CaptureContext& context, int master, int index) {
  Pty pty;
  pty.index = index;
  int value = 0;
  pty.locked = ::ioctl(master, TIOCGPTLCK, &value) == 0 && value != 0;
  pty.packets = ::ioctl(master, TIOCGPKT, &value) == 0 && value != 0;
  pty.modes = modes_of(master);  // of a master: the slave's
  ::ioctl(master, TIOCGWINSZ, &pty.size);
  // A master whose slave is not open hangs up, and its content is only what was written before.
  pollfd state{master, POLLIN, 0};
  ::poll(&state, 1, 0);
  pty.slave_open = (state.revents & POLLHUP) == 0;
  if (pty.locked || !pty.slave_open) return pty;
  const UniqueFd slave = open_slave(master, O_RDWR | O_NONBLOCK);
  if (!slave) {
    context.report.add(Severity::lost, fmt::format("/dev/pts/{}", index), "pseudoterminal",
                       "what waits in it to be read does not come back");
    return pty;
  }
  set_packets(master, false);
  pty.output = drain(master);
  set_modes(slave.get(), raw(pty.modes));
  pty.input = drain(slave.get());
  put_content(master, slave.get(), pty);
  return pty;
}

Json pty_to_json(const Pty& pty) {
  return {{"index", pty.index},
          {"modes", image::pack_bytes(&pty.modes, sizeof pty.modes)},
          {"size", image::pack_bytes(&pty.size, sizeof pty.size)},
          {"locked", pty.locked},
          {"packets", pty.packets},
          {"slave_open", pty.slave_open},
          {"exclusive", pty.exclusive},
          {"input", image::pack_bytes(pty.input.data(), pty.input.size())},
          {"output", image::pack_bytes(pty.output.data(), pty.output.size())}};
}

Pty pty_from_json(const Json& json) {
  Pty pty;
  pty.index = json.at("index");
  pty.modes = image::unpack_struct<termios>(json.at("modes"), "the modes of a pseudoterminal");
  pty.size = image::unpack_struct<winsize>(json.at("size"), "the size of a pseudoterminal");
  pty.locked = json.at("locked");
  pty.packets = json.at("packets");
  pty.slave_open = json.at("slave_open");
  pty.exclusive = json.value("exclusive", false);
  pty.input = image::unpack_string(json.at("input"));
  pty.output = image::unpack_string(json.at("output"));
  return pty;
}

UniqueFd make_pty(const Pty& pty, int flags) {
  UniqueFd master = open_file("/dev/ptmx", O_RDWR | O_NOCTTY | (flags & O_NONBLOCK));
  const int unlocked = 0;
  if (::ioctl(master.get(), TIOCSPTLCK, &unlocked) != 0)
    throw_errno("unlock a pseudoterminal", errno);
  ::ioctl(master.get(), TIOCSWINSZ, &pty.size);
  return master;
}

void fill_pty(int master, const Pty& pty) {
  const UniqueFd slave = open_slave(master, O_RDWR | O_NONBLOCK);
  if (!slave) throw_errno("open the other end of a pseudoterminal", errno);
  put_content(master, slave.get(), pty);
  const int locked = pty.locked ? 1 : 0;
  ::ioctl(master, TIOCSPTLCK, &locked);
}

}  // namespace ckpt::state
