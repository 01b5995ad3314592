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

image::Json Siginfo::write(const siginfo_t& info) { return image::pack_bytes(&info, sizeof info); }

siginfo_t Siginfo::read(const image::Json& json) {
  const auto info = image::unpack_struct<siginfo_t>(json, "a signal's siginfo");
  if (info.si_signo < 1 || info.si_signo > kSignals) image::damaged("a signal's number");
  return info;
}

namespace {

struct NumberedAction {
  int signal = 0;
  SignalAction action;
};

const image::Fields<NumberedAction>& fields_of(const NumberedAction* /*type*/) {
  using N = NumberedAction;
  using image::inside;
  static const image::Fields<N> fields = {
      "action",
      {{"signal", &N::signal, ""},
       {"handler", inside(&N::action, &SignalAction::handler), "0 default, 1 ignored"},
       {"flags", inside(&N::action, &SignalAction::flags), ""},
       {"restorer", inside(&N::action, &SignalAction::restorer), ""},
       {"mask", inside(&N::action, &SignalAction::mask), ""}},
      [](N& each) {
        if (each.signal < 1 || each.signal > kSignals) image::damaged("a signal number");
      }};
  return fields;
}

// Those that are not as by default.
struct Actions {
  static image::Json write(const std::vector<SignalAction>& actions) {
    auto list = image::Json::array();
    int signal = 0;
    for (const SignalAction& action : actions) {
      ++signal;
      if (action.handler != 0 || action.flags != 0 || action.mask != 0)
        list.push_back(image::encode(NumberedAction{signal, action}));
    }
    return list;
  }
  static std::vector<SignalAction> read(const image::Json& json) {
    std::vector<SignalAction> actions(kSignals);
    for (const auto& each : image::decode<std::vector<NumberedAction>>(json))
      actions[static_cast<std::size_t>(each.signal - 1)] = each.action;
    return actions;
  }
  static image::Json type(image::Catalog& catalog) {
    return image::Codec<std::vector<NumberedAction>>::type(catalog);
  }
};

}  // namespace

const image::Fields<SignalState>& fields_of(const SignalState* /*type*/) {
  using Field = image::Field<SignalState>;
  static const image::Fields<SignalState> fields = {
      "signals",
      {Field::as<Actions>("actions", &SignalState::actions,
                          "a signal that is not there has the default action"),
       Field::as<Siginfos>("queued", &SignalState::queued,
                           "siginfos (128 bytes each) queued for the process")}};
  return fields;
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
