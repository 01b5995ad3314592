#include "state/terminal/pty_content.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <thread>

#include "base/error.hpp"

namespace ckpt::state {

namespace {

using image::Json;
using Line = PtyContent::Line;
using Stop = PtyContent::Stop;

constexpr int kTimeoutMs = 2000;
// N_TTY_BUF_SIZE, of which one byte stays free. What comes then waits before it, without having got
// its meaning yet.
constexpr std::size_t kMostTakenIn = 4095;
constexpr cc_t kNoCharacter = 0;  // _POSIX_VDISABLE
constexpr cc_t kUsualStop = 0x13;
constexpr cc_t kUsualStart = 0x11;

void set_modes(int fd, const termios& modes) {
  if (::tcsetattr(fd, TCSANOW, &modes) != 0) throw_errno("set a pseudoterminal's modes", errno);
}

void set_packets(int master, bool on) {
  const int value = on ? 1 : 0;
  ::ioctl(master, TIOCPKT, &value);
}

// poll(2) makes the kernel take in what is on its way, unless there is something to be read.
bool is_ready(int fd, short events, int timeout_ms = 0) {
  pollfd ready{fd, events, 0};
  return ::poll(&ready, 1, timeout_ms) > 0 && (ready.revents & events) != 0;
}

// Every byte passes as it is, in both directions, and reading does not wait. Two things stay, since
// a change has effects: ICANON and EXTPROC, without which the ends of lines are forgotten, and with
// `flow` IXON, whose end lets stopped output go on.
termios plain(termios modes, bool flow) {
  const auto start = modes.c_cc[VSTART];
  const auto stop = modes.c_cc[VSTOP];
  modes.c_iflag = flow ? modes.c_iflag & IXON : 0;
  modes.c_oflag = 0;
  modes.c_lflag &= static_cast<tcflag_t>(ICANON | EXTPROC);
  std::fill(std::begin(modes.c_cc), std::end(modes.c_cc), kNoCharacter);
  if (flow) {
    modes.c_cc[VSTART] = start;
    modes.c_cc[VSTOP] = stop;
  }
  return modes;
}

termios without_lines(termios modes) {
  modes.c_lflag &= ~static_cast<tcflag_t>(ICANON);
  return modes;
}

// --- taking

std::string take_bytes(int fd) {
  std::string content;
  std::array<char, 4096> piece{};
  while (is_ready(fd, POLLIN)) {
    const ssize_t got = ::read(fd, piece.data(), piece.size());
    if (got <= 0) break;
    content.append(piece.data(), static_cast<std::size_t>(got));
  }
  return content;
}

void take_packets(int master, PtyContent& content) {
  std::array<char, 4096> piece{};
  while (is_ready(master, POLLIN)) {
    const ssize_t got = ::read(master, piece.data(), piece.size());
    if (got <= 0) break;
    if (piece[0] == TIOCPKT_DATA)
      content.output.append(piece.data() + 1, static_cast<std::size_t>(got - 1));
    else
      content.status |= static_cast<unsigned char>(piece[0]);
  }
}

// A first line that ends in no particular byte was most likely typed before the slave was told to
// hand over lines, which ended it: that leaves no mark.
bool has_mark(const std::string& bytes, const termios& modes, bool first) {
  if (bytes.empty()) return true;
  const auto last = static_cast<cc_t>(bytes.back());
  const bool by_byte = last == '\n' || (last != kNoCharacter &&
                                        (last == modes.c_cc[VEOL] || last == modes.c_cc[VEOL2]));
  return !by_byte && !first;
}

void take_lines(int slave, const termios& modes, std::vector<Line>& lines) {
  std::array<char, 2 * kMostTakenIn> room{};
  while (is_ready(slave, POLLIN)) {
    const ssize_t got = ::read(slave, room.data(), room.size());
    if (got < 0) break;
    std::string bytes(room.data(), static_cast<std::size_t>(got));
    const bool marked = has_mark(bytes, modes, lines.empty());
    lines.push_back({std::move(bytes), marked});
  }
}

// Which of the two kinds it was shows in what lets the output go on.
void let_output_go_on(int master, int slave, const termios& modes, PtyContent& content) {
  ::tcflow(slave, TCOON);
  content.stop = is_ready(slave, POLLOUT) ? Stop::flow : Stop::typed;
  set_modes(slave, plain(modes, false));
  // Echoes are sent before what is written.
  [[maybe_unused]] const ssize_t none = ::write(slave, "", 0);
  content.echo = take_bytes(master);
}

// --- putting

void put_bytes(int into, std::string_view content) {
  // Taken in as a whole if it is short (TTY_BUFFER_PAGE): see wait_for_input().
  constexpr std::size_t kPieceBytes = 1024;
  while (!content.empty()) {
    const std::size_t rest = content.size() % kPieceBytes;
    const std::size_t next = rest != 0 ? rest : kPieceBytes;
    const ssize_t put =
        is_ready(into, POLLOUT, kTimeoutMs) ? ::write(into, content.data(), next) : -1;
    if (put <= 0)
      fail(ErrorKind::system, "{} bytes that waited in a pseudoterminal could not be put back",
           content.size());
    content.remove_prefix(static_cast<std::size_t>(put));
  }
}

void wait_until(bool (*done)(int fd, int count), int fd, int count) {
  using std::chrono::steady_clock;
  const auto end = steady_clock::now() + std::chrono::milliseconds(kTimeoutMs);
  while (!done(fd, count)) {
    if (steady_clock::now() > end)
      fail(ErrorKind::system, "what waited in a pseudoterminal could not be put back in time");
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

// Bytes are taken in by a thread of the kernel, with the modes of the moment. `count`: of those
// that can be read. It tells no others; these have come with the last of the former, which the
// kernel lets no change of modes interrupt.
void wait_for_input(int slave, std::size_t count) {
  wait_until(
      [](int fd, int wanted) {
        int now = 0;
        is_ready(fd, POLLIN);
        return ::ioctl(fd, FIONREAD, &now) != 0 || now >= wanted;
      },
      slave, static_cast<int>(count));
}

// Bytes that mean something while lines are put.
struct Keys {
  cc_t literal = kNoCharacter;  // the next one means nothing
  cc_t mark = kNoCharacter;
  std::array<cc_t, 2> ends{};
  cc_t start = kNoCharacter;
  cc_t stop = kNoCharacter;

  [[nodiscard]] bool has(cc_t byte) const {
    return byte != kNoCharacter && (byte == literal || byte == mark || byte == ends[0] ||
                                    byte == ends[1] || byte == start || byte == stop);
  }
  // One that has no meaning yet.
  [[nodiscard]] cc_t unused() const {
    cc_t byte = 1;
    while (byte == '\n' || has(byte)) ++byte;
    return byte;
  }
};

// False if there are more than the kernel can be told.
bool end_with(Keys& keys, cc_t byte) {
  for (cc_t& end : keys.ends) {
    if (end == byte) return true;
    if (end != kNoCharacter || byte == kNoCharacter || byte == keys.start || byte == keys.stop)
      continue;
    end = byte;
    return true;
  }
  return false;
}

Keys keys_for(const termios& plain_modes, std::vector<Line>& lines) {
  Keys keys;
  keys.start = plain_modes.c_cc[VSTART];
  keys.stop = plain_modes.c_cc[VSTOP];
  for (Line& line : lines)
    if (!line.marked && line.bytes.back() != '\n')
      line.marked = !end_with(keys, static_cast<cc_t>(line.bytes.back()));
  keys.literal = keys.unused();
  keys.mark = keys.unused();
  return keys;
}

void type_bytes(std::string& typed, std::string_view bytes, const Keys& keys) {
  for (const char byte : bytes) {
    if (byte == '\n' || keys.has(static_cast<cc_t>(byte))) typed += static_cast<char>(keys.literal);
    typed += byte;
  }
}

void type_line(std::string& typed, const Line& line, const Keys& keys) {
  const std::size_t end = line.marked ? 0 : 1;
  type_bytes(typed, std::string_view(line.bytes).substr(0, line.bytes.size() - end), keys);
  typed += line.marked ? static_cast<char>(keys.mark) : line.bytes.back();
}

// What is taken in, and after it what is not.
struct Split {
  std::vector<Line> lines;
  std::string input;
  std::string rest;
};
Split split_input(const PtyContent& content) {
  Split split;
  std::size_t room = kMostTakenIn;
  for (const Line& line : content.lines) {
    const std::size_t bytes = line.bytes.size() + (line.marked ? 1 : 0);
    if (split.rest.empty() && bytes <= room) {
      room -= bytes;
      split.lines.push_back(line);
      continue;
    }
    const std::size_t fits = split.rest.empty() ? room : 0;
    split.input += line.bytes.substr(0, fits);
    split.rest += line.bytes.substr(std::min(fits, line.bytes.size()));
    room -= fits;
  }
  const std::size_t fits = split.rest.empty() ? room : 0;
  split.input += content.input.substr(0, fits);
  split.rest += content.input.substr(std::min(fits, content.input.size()));
  return split;
}

void put_lines(int master, int slave, termios modes, Split& split) {
  const Keys keys = keys_for(modes, split.lines);
  modes.c_lflag |= IEXTEN;
  modes.c_cc[VLNEXT] = keys.literal;
  modes.c_cc[VEOF] = keys.mark;
  modes.c_cc[VEOL] = keys.ends[0];
  modes.c_cc[VEOL2] = keys.ends[1];
  set_modes(slave, modes);
  std::string typed;
  std::size_t readable = 0;
  for (const Line& line : split.lines) {
    type_line(typed, line, keys);
    readable += line.bytes.size();
  }
  type_bytes(typed, split.input, keys);
  put_bytes(master, typed);
  wait_for_input(slave, readable);
}

// Without lines no byte can be made to mean nothing: others start and stop the output then.
termios flow_apart(termios modes, const std::string& bytes) {
  Keys keys;
  for (const int which : {VSTART, VSTOP}) {
    const auto meant = [&](cc_t byte) {
      return bytes.find(static_cast<char>(byte)) != std::string::npos || byte == keys.start;
    };
    cc_t& byte = modes.c_cc[which];
    if ((modes.c_iflag & IXON) == 0 || !meant(byte)) {
      keys.start = byte;
      continue;
    }
    byte = 255;
    while (byte != 1 && meant(byte)) --byte;
    keys.start = byte;
  }
  return modes;
}

void put_input(int master, int slave, const termios& modes, const PtyContent& content, bool flow) {
  Split split = split_input(content);
  const termios plain_modes = plain(modes, flow);
  if (hands_over_lines(modes)) {
    put_lines(master, slave, plain_modes, split);
  } else {
    set_modes(slave, flow_apart(plain_modes, split.input));
    put_bytes(master, split.input);
    wait_for_input(slave, split.input.size());
  }
  set_modes(slave, modes);
  put_bytes(master, split.rest);
}

// The echo of bytes is put by having them typed, and taken from the input.
void put_echo(int master, int slave, const termios& modes, const std::string& echo, bool flow) {
  if (echo.empty()) return;
  termios echoing = flow_apart(without_lines(plain(modes, flow)), echo);
  echoing.c_lflag |= ECHO;
  set_modes(slave, echoing);
  put_bytes(master, echo);
  wait_for_input(slave, echo.size());
  take_bytes(slave);
}

void stop_output(int master, int slave, termios modes, Stop stop) {
  if (stop == Stop::flow) ::tcflow(slave, TCOOFF);
  if (stop != Stop::typed) return;
  modes = plain(modes, true);
  modes.c_iflag |= IXON;
  if (modes.c_cc[VSTOP] == kNoCharacter) modes.c_cc[VSTOP] = kUsualStop;
  if (modes.c_cc[VSTART] == modes.c_cc[VSTOP]) modes.c_cc[VSTART] = kNoCharacter;
  set_modes(slave, modes);
  put_bytes(master, std::string(1, static_cast<char>(modes.c_cc[VSTOP])));
  wait_until([](int fd, int) { return !is_ready(fd, POLLOUT) && !is_ready(fd, POLLIN); }, slave, 0);
}

bool has_usual_flow(const termios& modes) {
  return (modes.c_iflag & IXON) != 0 && modes.c_cc[VSTOP] == kUsualStop &&
         modes.c_cc[VSTART] == kUsualStart;
}

// By doing what sets it (pty(7), ioctl_tty(2): TIOCPKT), while nothing waits that would be flushed.
// Output that is stopped later sets TIOCPKT_STOP.
void raise_status(int master, int slave, const termios& modes, unsigned status) {
  set_modes(slave, modes);
  set_packets(master, true);
  if ((status & TIOCPKT_FLUSHREAD) != 0) ::tcflush(slave, TCIFLUSH);
  if ((status & TIOCPKT_FLUSHWRITE) != 0) ::tcflush(slave, TCOFLUSH);
  if ((status & TIOCPKT_START) != 0) {
    ::tcflow(slave, TCOOFF);
    ::tcflow(slave, TCOON);
  }
  termios other = modes;
  if ((status & (TIOCPKT_DOSTOP | TIOCPKT_NOSTOP)) != 0) {
    other.c_iflag =
        has_usual_flow(modes) ? other.c_iflag & ~static_cast<tcflag_t>(IXON) : other.c_iflag | IXON;
    other.c_cc[VSTOP] = kUsualStop;
    other.c_cc[VSTART] = kUsualStart;
  }
  if ((status & TIOCPKT_IOCTL) != 0) other.c_lflag ^= static_cast<tcflag_t>(EXTPROC);
  set_modes(slave, other);
  set_modes(slave, modes);
}

std::vector<Line> lines_in(std::string& input) {
  std::vector<Line> lines;
  for (auto end = input.find('\n'); end != std::string::npos; end = input.find('\n')) {
    lines.push_back({input.substr(0, end + 1), false});
    input.erase(0, end + 1);
  }
  return lines;
}

struct Lines {
  static Json write(const PtyContent& content) { return image::encode(content.lines); }
  static void read(const Json& json, PtyContent& content) {
    content.lines_are_in_input = json.is_null();
    if (!json.is_null()) content.lines = image::decode<std::vector<Line>>(json);
  }
  static Json type(image::Catalog& catalog) {
    return image::Codec<std::optional<std::vector<Line>>>::type(catalog);
  }
};

}  // namespace

bool hands_over_lines(const termios& modes) {
  return (modes.c_lflag & ICANON) != 0 && (modes.c_lflag & EXTPROC) == 0;
}

void take_content(int master, int slave, const PtySettings& settings, PtyContent& content) {
  if (settings.packets)
    take_packets(master, content);
  else
    content.output = take_bytes(master);
  set_packets(master, false);
  const bool stopped = !is_ready(slave, POLLOUT);
  set_modes(slave, plain(settings.modes, stopped));
  if (stopped) let_output_go_on(master, slave, settings.modes, content);
  if (hands_over_lines(settings.modes)) {
    take_lines(slave, settings.modes, content.lines);
    set_modes(slave, without_lines(plain(settings.modes, false)));
  }
  content.input = take_bytes(slave);
  content.master_stopped = !is_ready(master, POLLOUT);
  if (content.master_stopped) ::tcflow(master, TCOON);
}

void put_content(int master, int slave, const PtySettings& settings, const PtyContent& content) {
  const termios& modes = settings.modes;
  const bool status = settings.packets && content.status != 0;
  const bool flow = status || content.stop == Stop::typed;
  set_packets(master, false);
  if (status) raise_status(master, slave, modes, content.status);
  set_modes(slave, plain(modes, flow));
  put_bytes(slave, content.output);
  is_ready(master, POLLIN);
  stop_output(master, slave, modes, content.stop);
  put_echo(master, slave, modes, content.echo, flow);
  put_input(master, slave, modes, content, flow);
  if (content.master_stopped) ::tcflow(master, TCOOFF);
  set_packets(master, settings.packets);
}

void check_content(PtyContent& content, const termios& modes) {
  if (content.lines_are_in_input && hands_over_lines(modes))
    content.lines = lines_in(content.input);
  for (const Line& line : content.lines)
    if ((line.bytes.empty() && !line.marked) || !hands_over_lines(modes))
      image::damaged("a line in a pseudoterminal");
}

const image::Fields<Line>& fields_of(const Line* /*type*/) {
  static const image::Fields<Line> fields = {
      "pty_line",
      {image::Field<Line>::as<image::Bytes>("bytes", &Line::bytes, ""),
       {"marked", &Line::marked, "an end of file ends it, and not its last byte"}}};
  return fields;
}

const image::Fields<PtyContent>& fields_of(const PtyContent* /*type*/) {
  using enum image::Presence;
  using C = PtyContent;
  using Field = image::Field<C>;
  static const image::Fields<C> fields = {
      "pty_content",
      {Field::by<Lines>("lines", "what one read of the slave takes; null: `input` has them, too"),
       Field::as<image::Bytes>("input", &C::input, "behind them: written to the master"),
       Field::as<image::Bytes>("output", &C::output, "the other way"),
       Field::as<image::Bytes>("echo", &C::echo, "waits for output that is stopped", later),
       Field::as<image::Numbered<Stop::flow>>(
           "stop", &C::stop, "of the slave: 0 not stopped, 1 by a key, 2 by tcflow(3)", later),
       {"master_stopped", &C::master_stopped, "tcflow(3)", later},
       {"status", &C::status, "TIOCPKT bits not told yet", later}}};
  return fields;
}

}  // namespace ckpt::state
