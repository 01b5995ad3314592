#include "debugserver/signals.hpp"

#include <array>
#include <csignal>

namespace ckpt::debugserver {

namespace {

struct Pair {
  int signal;
  int protocol;
};
constexpr int kUnknown = 143;
constexpr int kFirstRealtime = 32;
constexpr int kLastRealtime = 64;
constexpr int kProtocolRealtime33 = 45;

constexpr std::array kDiffering = {Pair{SIGBUS, 10}, Pair{SIGUSR1, 30}, Pair{SIGUSR2, 31},
                                   Pair{SIGCHLD, 20}, Pair{SIGCONT, 19}, Pair{SIGSTOP, 17},
                                   Pair{SIGTSTP, 18}, Pair{SIGURG, 16}, Pair{SIGIO, 23},
                                   Pair{SIGPWR, 32}, Pair{SIGSYS, 12}, Pair{SIGSTKFLT, kUnknown},
                                   // Those that were thought of later.
                                   Pair{kFirstRealtime, 77}, Pair{kLastRealtime, 78}};

}  // namespace

int protocol_signal(int signal) {
  for (const auto& pair : kDiffering)
    if (pair.signal == signal) return pair.protocol;
  if (signal > kFirstRealtime && signal < kLastRealtime)
    return signal - (kFirstRealtime + 1) + kProtocolRealtime33;
  return signal;
}

int signal_of_protocol(int number) {
  for (int signal = 1; signal <= kLastRealtime; ++signal)
    if (protocol_signal(signal) == number) return signal;
  return 0;
}

}  // namespace ckpt::debugserver
