// The second half of a restore: parked threads get their final state.
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <csignal>
#include <map>

#include "base/error.hpp"
#include "base/fault.hpp"
#include "snapshot/capture.hpp"
#include "snapshot/ids.hpp"
#include "snapshot/kernel_pages.hpp"
#include "snapshot/restore.hpp"
#include "snapshot/waits.hpp"
#include "state/terminal/terminal.hpp"
#include "state/time/clocks.hpp"
#include "tracee/remote.hpp"

namespace ckpt::snapshot {

namespace {

using state::ThreadState;
using tracee::RemoteThread;
using tracee::Scratch;

static_assert(state::kSeccompBytes <= kParkedDataBytes);

std::vector<siginfo_t> all_queued(const Snapshot& snapshot) {
  auto signals = snapshot.saved.signals.queued;
  for (const auto& thread : snapshot.saved.threads)
    signals.insert(signals.end(), thread.queued.begin(), thread.queued.end());
  return signals;
}

// What would be in the way of everything else: the last that runs in a thread.
void finish_privileges(const ThreadState& saved, state::RestoreContext& inferior) {
  state::set_filters(inferior, saved.filters);
  if (state::restores_identity_last(saved)) state::restore_identity(inferior, saved);
}

std::optional<unsigned long> options_for_filters(const ThreadState& saved) {
  return saved.filters.empty() ? std::nullopt : std::optional(debugger_options(false));
}

// A program that handles it is told that its terminal has another size now, as it would have been.
void tell_of_terminal_size(const Snapshot& snapshot, Tid pid) {
  const auto& actions = snapshot.saved.signals.actions;
  constexpr std::uint64_t kIgnored = 1;
  if (actions.at(SIGWINCH - 1).handler <= kIgnored) return;
  const auto& saved = snapshot.terminal_size;
  const auto now = state::read_terminal_size(proc::ProcessDir(pid));
  if (!saved.is_null() && !now.is_null() && saved != now) ::kill(pid, SIGWINCH);
}

}  // namespace

std::vector<Held> finish(const Snapshot& snapshot, const std::vector<Tid>& tids) {
  if (tids.size() != snapshot.saved.threads.size())
    fail(ErrorKind::usage, "the snapshot has {} threads, not {}", snapshot.saved.threads.size(),
         tids.size());
  const Tid pid = tids.front();
  std::vector<std::string> notes;  // there are none where filters may be set
  state::RestoreContext inferior(pid, 0, notes);
  const proc::ProcessDir& process = inferior.process;
  const tracee::Memory& memory = inferior.memory;
  auto present = process.threads();
  std::erase_if(present, [&](Tid tid) { return process.is_kernel_worker(tid); });
  if (!std::is_permutation(present.begin(), present.end(), tids.begin(), tids.end()))
    fail(ErrorKind::refused, "process {}: its {} threads are not those that were restored", pid,
         present.size());
  const Addr parked_at = tracee::get_registers(pid).pc();
  const Addr code{page_down(parked_at.value)};
  const Scratch scratch{code, code + kPageSize, kParkedDataBytes};
  fault_point("restore-finish");

  std::uint64_t shared_queue = 0;
  for (const auto& info : snapshot.saved.signals.queued)
    shared_queue |= 1ULL << (info.si_signo - 1U);
  const auto mappings = process.mappings();
  const auto proxy = find_vdso_proxy(mappings, memory);
  const auto ids = changed_ids(snapshot, tids);
  const bool other_clocks = state::has_own_clocks(process) || snapshot.saved.had_own_clocks;
  const auto boundary = ids::find_boundary(mappings, memory);
  std::map<std::size_t, std::int64_t> answers;
  const auto final_state = [&](std::size_t index) {
    ThreadState thread = snapshot.saved.threads[index];
    leave_vdso(thread, proxy, other_clocks, memory);
    if (answers.contains(index)) give_answer(thread, answers.at(index));
    std::uint64_t queued = shared_queue;
    for (const auto& info : thread.queued) queued |= 1ULL << (info.si_signo - 1U);
    state::prepare_restart(thread, (queued & ~thread.signal_mask) != 0 || thread.held_signal != 0,
                           false);
    renew_copies(thread, memory, ids);
    enter_stub(thread, boundary);
    return thread;
  };
  {
    const Addr instruction = tracee::find_syscall_instruction(mappings, memory);
    for (std::size_t i = 1; i < tids.size(); ++i) {
      const auto trace_options = options_for_filters(snapshot.saved.threads[i]);
      if (!trace_options) continue;
      RemoteThread thread(pid, tids[i], {pid, tids[i]}, memory, instruction, trace_options);
      const tracee::Turn turn(inferior, thread, scratch);
      finish_privileges(snapshot.saved.threads[i], inferior);
      thread.land();
      thread.abandon();
    }
    RemoteThread main(pid, pid, {pid, pid}, memory, instruction,
                      options_for_filters(snapshot.saved.threads.front()));
    const tracee::Turn turn(inferior, main, scratch);
    state::start_timers(inferior, snapshot.saved.timers, all_queued(snapshot));
    state::start_descriptions(inferior, snapshot.descriptors());
    fault_point("restore-timers");
    if (boundary) answers = answer_waits(snapshot, *boundary, inferior);
    finish_privileges(snapshot.saved.threads.front(), inferior);
    inferior.call(
        "prctl(PR_SET_PDEATHSIG)", SYS_prctl,
        {PR_SET_PDEATHSIG, snapshot.saved.threads.front().attributes.parent_death_signal});
    main.drop_scratch(scratch);
    state::finish_process_attributes(inferior, snapshot.saved.process.attributes);
    main.land();
    main.abandon();
  }
  fault_point("restore-landed");
  std::vector<Held> held;
  for (std::size_t i = 0; i < tids.size(); ++i) {
    if (i + 1 == tids.size()) fault_point("restore-thread");  // some have their final state
    const ThreadState thread = final_state(i);
    state::finish_thread(tids[i], memory, thread, snapshot.xstate_layout);
    if (thread.held_signal != 0 && thread.stop_info) {
      tracee::set_siginfo(tids[i], *thread.stop_info);
      held.push_back({tids[i], thread.held_signal});
    }
  }
  tell_of_terminal_size(snapshot, pid);
  return held;
}

void kill_with_tracer(Tid pid) {
  const proc::ProcessDir process(pid);
  for (const Tid tid : process.threads())
    if (!process.is_kernel_worker(tid)) tracee::set_options(tid, debugger_options(false));
}

}  // namespace ckpt::snapshot
