// What the process as a whole keeps of signals: handlers and the queue shared by all threads.
// Masks and queues of single threads are in threads.hpp.
#pragma once

#include <csignal>
#include <cstdint>
#include <vector>

#include "image/fields.hpp"
#include "state/context.hpp"
#include "tracee/remote.hpp"

namespace ckpt::state {

inline constexpr int kSignals = 64;  // the highest number, SIGRTMAX

/// struct kernel_sigaction of x86-64 (arch/x86/include/uapi/asm/signal.h).
struct SignalAction {
  std::uint64_t handler = 0;
  std::uint64_t flags = 0;
  std::uint64_t restorer = 0;
  std::uint64_t mask = 0;
};

struct SignalState {
  std::vector<SignalAction> actions;  // signal 1 first
  std::vector<siginfo_t> queued;
};

/// The handlers; the queue is looked into later.
SignalState capture_signals(CaptureContext& context);

/// What is queued for one thread, or for the process as a whole (`shared`), without the SIGSTOPs
/// with which debuggers stop threads. `lwp` is stopped and traced by the caller.
std::vector<siginfo_t> queued_signals(const CaptureContext& context, Tid lwp, bool shared);

/// A siginfo in a record; one that no signal has is damage.
struct Siginfo {
  static image::Json write(const siginfo_t& info);
  static siginfo_t read(const image::Json& json);
  static image::Json type(image::Catalog& /*catalog*/) { return "bytes"; }
};
using Siginfos = image::List<siginfo_t, Siginfo>;

const image::Fields<SignalState>& fields_of(const SignalState* /*type*/);

void restore_actions(tracee::Inferior& inferior, const SignalState& state);

/// Queues signals again, with their siginfo: to the process if `thread_id` is 0, else to the
/// thread. Runs in the process itself, which may send itself any siginfo. Signals must be blocked.
void queue_signals(tracee::Inferior& inferior, const std::vector<siginfo_t>& signals,
                   Tid thread_id);

}  // namespace ckpt::state
