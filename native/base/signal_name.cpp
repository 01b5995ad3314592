#include "base/signal_name.hpp"

#include <csignal>
#include <cstring>

#include <fmt/format.h>

namespace ckpt {

std::string signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name == nullptr ? fmt::format("signal {}", signal) : fmt::format("SIG{}", name);
}

}  // namespace ckpt
