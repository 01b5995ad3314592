#include "state/process/signals.hpp"

#include <sys/syscall.h>

#include <array>
#include <cerrno>

#include "base/error.hpp"
#include "tracee/ptrace.hpp"

namespace ckpt::state {

namespace {

constexpr std::uint64_t kMaskBytes = 8;

tracee::LoopEntry action_call(int number, Addr set, Addr get) {
  tracee::LoopEntry row;
  row.number = SYS_rt_sigaction;
  row.arguments[0] = static_cast<std::uint64_t>(number);
  row.arguments[1] = set.value;
  row.arguments[2] = get.value;
  row.arguments[3] = kMaskBytes;
  return row;
}

bool is_fixed(int number) { return number == SIGKILL || number == SIGSTOP; }

}  // namespace

SignalState capture_signals(CaptureContext& context, tracee::RemoteThread& thread,
                            const tracee::Scratch& scratch) {
  SignalState state;
  std::vector<tracee::LoopEntry> table;
  const Addr answers = scratch.data + kSignals * sizeof(tracee::LoopEntry);
  for (int number = 1; number <= kSignals; ++number)
    table.push_back(action_call(
        number, Addr{0}, answers + static_cast<std::uint64_t>(number - 1) * sizeof(SignalAction)));
  thread.run(scratch, table, true, "rt_sigaction");
  state.actions.resize(kSignals);
  context.memory.read(answers, std::as_writable_bytes(std::span(state.actions)));
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

void restore_actions(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                     const tracee::Memory& memory, const SignalState& state) {
  std::vector<tracee::LoopEntry> table;
  const Addr values = scratch.data + kSignals * sizeof(tracee::LoopEntry);
  memory.write(values, std::as_bytes(std::span(state.actions)));
  for (int number = 1; number <= kSignals; ++number)
    if (!is_fixed(number))
      table.push_back(action_call(
          number, values + static_cast<std::uint64_t>(number - 1) * sizeof(SignalAction), Addr{0}));
  thread.run(scratch, table, true, "rt_sigaction");
}

void queue_signals(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                   const tracee::Memory& memory, const std::vector<siginfo_t>& signals,
                   Tid process_id, Tid thread_id) {
  const Addr info_at = scratch.data + sizeof(tracee::LoopEntry);
  for (const siginfo_t& info : signals) {
    memory.write_value(info_at, info);
    std::array<tracee::LoopEntry, 1> table{};
    auto& row = table[0];
    row.arguments[0] = static_cast<std::uint64_t>(process_id);
    const auto number = static_cast<std::uint64_t>(info.si_signo);
    if (thread_id == 0) {
      row.number = SYS_rt_sigqueueinfo;
      row.arguments[1] = number;
      row.arguments[2] = info_at.value;
    } else {
      row.number = SYS_rt_tgsigqueueinfo;
      row.arguments[1] = static_cast<std::uint64_t>(thread_id);
      row.arguments[2] = number;
      row.arguments[3] = info_at.value;
    }
    thread.run(scratch, table, true, "queue a pending signal");
  }
}

}  // namespace ckpt::state
