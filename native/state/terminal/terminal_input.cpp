#include "state/terminal/terminal_input.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "base/error.hpp"
#include "base/signals.hpp"

namespace ckpt::state {

namespace {

// What a terminal holds.
constexpr std::size_t kMostInputBytes = 4096;
constexpr cc_t kNone = 0;  // _POSIX_VDISABLE

/// The terminal's modes, changed for a while. From its background, too: the kernel would stop us.
class ModesFor {
 public:
  explicit ModesFor(int terminal) : terminal_(terminal) {
    if (::tcgetattr(terminal, &before_) != 0) throw_errno("read the terminal's modes", errno);
  }
  ~ModesFor() {
    if (changed_) ::tcsetattr(terminal_, TCSANOW, &before_);
  }
  ModesFor(const ModesFor&) = delete;
  ModesFor& operator=(const ModesFor&) = delete;

  [[nodiscard]] const termios& before() const { return before_; }
  void set(const termios& modes) {
    changed_ = true;
    if (::tcsetattr(terminal_, TCSANOW, &modes) != 0)
      throw_errno("set the terminal's modes", errno);
  }

 private:
  const SignalsBlocked blocked_{SIGTTOU, SIGTTIN};
  int terminal_;
  termios before_{};
  bool changed_ = false;
};

// No byte of `text` has a meaning but the ends of lines; `end_of_file` stands for Ctrl-D. What a
// user types meanwhile keeps its meaning as far as that goes.
termios for_typing(termios modes, const std::string& text, cc_t end_of_file, bool echo) {
  modes.c_iflag &= static_cast<tcflag_t>(IUTF8 | IMAXBEL);
  modes.c_lflag &= ~static_cast<tcflag_t>(IEXTEN);
  if (!echo) modes.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL);
  for (const int which : {VINTR, VQUIT, VSUSP, VERASE, VKILL})
    if (text.find(static_cast<char>(modes.c_cc[which])) != std::string::npos)
      modes.c_cc[which] = kNone;
  modes.c_cc[VEOF] = end_of_file;
  return modes;
}

// A byte that does not occur.
cc_t unused_byte(const std::string& text) {
  for (unsigned byte = 4; byte < 256; ++byte)
    if (byte != '\n' && text.find(static_cast<char>(byte)) == std::string::npos)
      return static_cast<cc_t>(byte);
  return kNone;
}

// Whether it is our own terminal. /dev/tty stands for another device, whose number it tells.
bool is_own(const struct stat& terminal) {
  const UniqueFd own(::open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC));
  unsigned device = 0;
  return own && ::ioctl(own.get(), TIOCGDEV, &device) == 0 && terminal.st_rdev == device;
}

std::string take_and_give_back(CaptureContext& context, int terminal) {
  std::string input = take_input(terminal);
  try {
    if (!input.empty()) type_input(terminal, input, false);
  } catch (const Error& error) {
    context.report.add(Severity::changed, "terminal", "input",
                       fmt::format("{} bytes that were typed and not read were taken, and cannot "
                                   "be given back: {}",
                                   input.size(), error.what()));
  }
  return input;
}

}  // namespace

std::string capture_input(CaptureContext& context, const UniqueFd& terminal,
                          const InputRequest& request) {
  if (!request.owed.empty() || !terminal) return request.owed;
  struct stat status {};
  const auto process = context.process.stat();
  if (::fstat(terminal.get(), &status) != 0 || process.tty_device != status.st_rdev) return {};
  if (process.foreground_group != process.process_group &&
      !(request.ours_is_the_programs && is_own(status)))
    return {};  // it is typed for another program
  std::string why;
  try {
    if (!request.look_only && may_type(terminal.get()))
      return take_and_give_back(context, terminal.get());
  } catch (const Error& error) {
    why = fmt::format(" ({})", error.what());
  }
  int waiting = 0;
  if (::ioctl(terminal.get(), FIONREAD, &waiting) == 0 && waiting != 0)
    context.report.add(
        Severity::changed, "terminal", "input",
        fmt::format("{} bytes that were typed and not read stay with it{}", waiting, why));
  return {};
}

image::Json TypedInput::write(const std::string& input) {
  auto bytes = image::Json::array();
  for (const char byte : input) bytes.push_back(static_cast<unsigned char>(byte));
  return bytes;
}

std::string TypedInput::read(const image::Json& json) {
  const auto bytes = image::decode<std::vector<std::uint8_t>>(json);
  if (bytes.size() > kMostInputBytes) image::damaged("the terminal's input");
  return {bytes.begin(), bytes.end()};
}

image::Json TypedInput::type(image::Catalog& /*catalog*/) { return {{"list", "int"}}; }

bool may_type(int terminal) {
  // The kernel looks at the permission first.
  return ::ioctl(terminal, TIOCSTI, nullptr) != 0 && errno == EFAULT;
}

std::string take_input(int terminal) {
  ModesFor modes(terminal);
  // A line that is not ended can be read in no other way, and reading must not wait.
  termios raw = modes.before();
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON);
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  modes.set(raw);
  std::string input;
  std::array<char, kMostInputBytes> piece{};
  while (input.size() < kMostInputBytes) {
    pollfd ready{terminal, POLLIN, 0};
    const int events = ::poll(&ready, 1, 0);
    if (events < 0 && errno == EINTR) continue;
    if (events <= 0 || ready.revents != POLLIN) break;
    const ssize_t got = ::read(terminal, piece.data(), kMostInputBytes - input.size());
    if (got < 0 && errno == EINTR) continue;
    // Not in its foreground (EIO). What we have taken we have to give back.
    if (got < 0 && input.empty()) throw_errno("cannot read what was typed on the terminal", errno);
    if (got <= 0) break;
    input.append(piece.data(), static_cast<std::size_t>(got));
  }
  return input;
}

void type_input(int terminal, const std::string& input, bool echo) {
  ModesFor modes(terminal);
  const bool lines = (modes.before().c_lflag & ICANON) != 0;
  const cc_t end_of_file = unused_byte(input);
  modes.set(for_typing(modes.before(), input, end_of_file, echo));
  for (const char byte : input) {
    const char typed = lines && byte == '\0' ? static_cast<char>(end_of_file) : byte;
    if (::ioctl(terminal, TIOCSTI, &typed) != 0) throw_errno("type on the terminal", errno);
  }
}

void type_first(int terminal, const std::string& input, bool echo) {
  const std::string since = take_input(terminal);
  type_input(terminal, input, echo);
  type_input(terminal, since, false);
}

std::string cannot_type(const std::string& input, bool no_terminal) {
  std::string shown;
  for (const char byte : input) {
    if (byte == '\n')
      shown += "\\n";
    else if (byte == '"' || byte == '\\')
      shown += {'\\', byte};
    else if (static_cast<unsigned char>(byte) < 0x20 || byte == 0x7f)
      shown += fmt::format("\\{:03o}", byte);
    else
      shown += byte;
  }
  return fmt::format("typed before the save and not read yet: \"{}\"; type it again ({})", shown,
                     no_terminal ? "there is no terminal to put it into"
                                 : "the kernel lets one type on one's own terminal only, and where "
                                   "dev.tty.legacy_tiocsti is 1");
}

}  // namespace ckpt::state
