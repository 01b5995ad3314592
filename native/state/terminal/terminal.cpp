#include "state/terminal/terminal.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "base/error.hpp"
#include "base/signals.hpp"

namespace ckpt::state {

UniqueFd open_terminal(const proc::ProcessDir& process) {
  for (int fd = 0; fd <= 2; ++fd) {
    const std::string path = process.path(fmt::format("fd/{}", fd));
    // Not every kind of file may be opened for a mere look: a character device, and without
    // waiting.
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0 || !S_ISCHR(status.st_mode)) continue;
    UniqueFd terminal(::open(path.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
    if (terminal && ::isatty(terminal.get()) == 1) return terminal;
  }
  return {};
}

image::Json read_terminal_size(const proc::ProcessDir& process) {
  const UniqueFd terminal = open_terminal(process);
  winsize size{};
  if (!terminal || ::ioctl(terminal.get(), TIOCGWINSZ, &size) != 0) return {};
  return {size.ws_row, size.ws_col};
}

image::Json read_terminal(const proc::ProcessDir& process) {
  if (const UniqueFd terminal = open_terminal(process)) {
    termios modes{};
    if (::tcgetattr(terminal.get(), &modes) != 0) return {};
    auto characters = image::Json::array();
    for (const cc_t character : modes.c_cc) characters.push_back(character);
    return {{"iflag", modes.c_iflag},
            {"oflag", modes.c_oflag},
            {"cflag", modes.c_cflag},
            {"lflag", modes.c_lflag},
            {"cc", std::move(characters)}};
  }
  return {};
}

void write_terminal(int fd, const image::Json& modes) {
  termios wanted{};
  if (::tcgetattr(fd, &wanted) != 0) throw_errno("read the terminal's modes", errno);
  try {
    wanted.c_iflag = modes.at("iflag");
    wanted.c_oflag = modes.at("oflag");
    wanted.c_cflag = modes.at("cflag");
    wanted.c_lflag = modes.at("lflag");
    const auto& characters = modes.at("cc");
    for (std::size_t i = 0; i < std::min<std::size_t>(NCCS, characters.size()); ++i)
      wanted.c_cc[i] = characters[i];
  } catch (const image::Json::exception&) {
    image::damaged("the terminal's modes");
  }
  // We may be in the background of that terminal: without this the kernel would stop us.
  const SignalsBlocked blocked({SIGTTOU});
  if (::tcsetattr(fd, TCSANOW, &wanted) != 0) throw_errno("set the terminal's modes", errno);
}

}  // namespace ckpt::state
