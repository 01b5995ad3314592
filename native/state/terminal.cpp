#include "state/terminal.hpp"

#include <termios.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "base/error.hpp"

namespace ckpt::state {

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
  sigset_t block;
  sigset_t before;
  sigemptyset(&block);
  sigaddset(&block, SIGTTOU);
  pthread_sigmask(SIG_BLOCK, &block, &before);
  const int result = ::tcsetattr(fd, TCSANOW, &wanted);
  const int error_number = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (result != 0) throw_errno("set the terminal's modes", error_number);
}

}  // namespace ckpt::state
