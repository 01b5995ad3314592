// What people call a signal.
#pragma once

#include <string>

namespace ckpt {

/// "SIGSEGV"; "signal 40" of one that has no name, as realtime signals have none.
std::string signal_name(int signal);

}  // namespace ckpt
