#include "state/process/signals.hpp"

#include <sys/syscall.h>

#include <array>
#include <cerrno>

#include "base/error.hpp"
#include "tracee/ptrace.hpp"

namespace ckpt::state {

namespace {

constexpr std::uint64_t kMaskBytes = 8;

// Of a signal's action among those of all signals.
Addr place_of(const tracee::Piece& actions, int number) {
  return actions.at() + static_cast<std::uint64_t>(number - 1) * sizeof(SignalAction);
}

bool is_fixed(int number) { return number == SIGKILL || number == SIGSTOP; }

}  // namespace

SignalState capture_signals(CaptureContext& context) {
  SignalState state;
  state.actions.resize(kSignals);
  const auto answers = context.reserve(state.actions.size() * sizeof(SignalAction));
  tracee::Batch batch(context);
  for (int number = 1; number <= kSignals; ++number)
    batch.add(SYS_rt_sigaction, {number, 0, place_of(answers, number), kMaskBytes});
  batch.run_all("rt_sigaction");
  answers.read(std::as_writable_bytes(std::span(state.actions)));
  return state;
}

std::vector<siginfo_t> queued_signals(const CaptureContext& context, Tid lwp, bool shared) {
  // First, so that what it shows is in the queue by the time that is looked into.
  const proc::Status status = context.process.status(lwp);
  std::uint64_t pending = shared ? status.shared_pending : status.pending;
  std::vector<siginfo_t> queued;
  for (const auto& info : tracee::peek_signals(lwp, shared)) {
    pending &= ~(1ULL << static_cast<unsigned>(info.si_signo - 1));
    if (info.si_signo != SIGSTOP) queued.push_back(info);
  }
  // Beyond RLIMIT_SIGPENDING the kernel notes no more than that a signal is pending, and delivers
  // it with this siginfo (collect_signal() in kernel/signal.c).
  for (int number = 1; number <= kSignals; ++number) {
    if (is_fixed(number) || ((pending >> static_cast<unsigned>(number - 1)) & 1U) == 0) continue;
    siginfo_t info{};
    info.si_signo = number;
    info.si_code = SI_USER;
    queued.push_back(info);
  }
  return queued;
}

image::Json signals_to_json(const SignalState& state) {
  auto actions = image::Json::array();
  for (std::size_t i = 0; i < state.actions.size(); ++i) {
    const auto& action = state.actions[i];
    if (action.handler == 0 && action.flags == 0 && action.mask == 0) continue;
    actions.push_back({{"signal", i + 1},
                       {"handler", action.handler},
                       {"flags", action.flags},
                       {"restorer", action.restorer},
                       {"mask", action.mask}});
  }
  auto queued = image::Json::array();
  for (const auto& info : state.queued) queued.push_back(image::pack_bytes(&info, sizeof info));
  return {{"actions", std::move(actions)}, {"queued", std::move(queued)}};
}

siginfo_t unpack_siginfo(const image::Json& json) {
  const auto info = image::unpack_struct<siginfo_t>(json, "a signal's siginfo");
  if (info.si_signo < 1 || info.si_signo > kSignals) image::damaged("a signal's number");
  return info;
}

SignalState signals_from_json(const image::Json& json) {
  SignalState state;
  state.actions.resize(kSignals);
  for (const auto& item : json.at("actions")) {
    const int number = item.at("signal");
    if (number < 1 || number > kSignals) image::damaged("a signal number");
    state.actions[static_cast<std::size_t>(number - 1)] = {item.at("handler"), item.at("flags"),
                                                           item.at("restorer"), item.at("mask")};
  }
  for (const auto& item : json.at("queued")) state.queued.push_back(unpack_siginfo(item));
  return state;
}

void restore_actions(tracee::Inferior& inferior, const SignalState& state) {
  const auto actions = inferior.put(std::as_bytes(std::span(state.actions)));
  tracee::Batch batch(inferior);
  for (int number = 1; number <= kSignals; ++number)
    if (!is_fixed(number))
      batch.add(SYS_rt_sigaction, {number, place_of(actions, number), 0, kMaskBytes});
  batch.run_all("rt_sigaction");
}

void queue_signals(tracee::Inferior& inferior, const std::vector<siginfo_t>& signals,
                   Tid thread_id) {
  for (const siginfo_t& info : signals) {
    const auto at = inferior.put_value(info);
    if (thread_id == 0)
      inferior.call("queue a pending signal", SYS_rt_sigqueueinfo,
                    {inferior.pid(), info.si_signo, at});
    else
      inferior.call("queue a pending signal", SYS_rt_tgsigqueueinfo,
                    {inferior.pid(), thread_id, info.si_signo, at});
  }
}

}  // namespace ckpt::state
