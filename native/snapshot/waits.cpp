#include "snapshot/waits.hpp"

#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <optional>

namespace ckpt::snapshot {

namespace {

using arch::IdPair;

class Waits {
 public:
  Waits(const ids::FoundBoundary& boundary, tracee::Inferior& inferior)
      : inferior_(inferior), boundary_(boundary) {}

  // Nothing if no child is there to be had: the kernel makes the call again.
  std::optional<std::int64_t> make(const tracee::Registers& registers) {
    if (registers.syscall_number() == SYS_wait4) return wait4(registers);
    if (registers.syscall_number() == SYS_waitid) return waitid(registers);
    return std::nullopt;
  }

 private:
  // All children are the main thread's by now, also those that another one had made.
  static std::uint64_t options_of(std::uint64_t given) {
    constexpr std::uint64_t kOwnChildren = __WNOTHREAD;
    return (given & ~kOwnChildren) | WNOHANG;
  }
  Tid real(Tid remembered) const {
    const auto& children = boundary_.ids.children;
    const auto found = std::find_if(children.begin(), children.end(), [&](const arch::IdPair& one) {
      return one.remembered == remembered && one.real > 0;
    });
    return found == children.end() ? remembered : found->real;
  }
  Tid real_group(Tid remembered) const {
    return remembered == boundary_.ids.group.remembered ? boundary_.ids.group.real
                                                        : real(remembered);
  }

  // Where the C library's code translates results behind its calls, that is still to come.
  Tid shown(const tracee::Registers& registers, Tid child, bool stays) const {
    const auto& patches = boundary_.patches;
    const bool follows = std::any_of(patches.begin(), patches.end(), [&](const auto& patch) {
      return patch.address == registers.pc().value;
    });
    if (follows) return child;
    return stays ? boundary_.remembered_child(child)
                 : ids::collect_child(boundary_, inferior_.memory, child);
  }

  std::optional<std::int64_t> wait4(const tracee::Registers& registers) {
    const auto target = static_cast<Tid>(registers.arg(0));
    const Tid now = target > 0 ? real(target) : target < -1 ? -real_group(-target) : target;
    const std::int64_t got = inferior_.attempt(
        SYS_wait4, {now, registers.arg(1), options_of(registers.arg(2)), registers.arg(3)});
    if (got <= 0) return std::nullopt;
    return shown(registers, static_cast<Tid>(got), false);
  }

  std::optional<std::int64_t> waitid(const tracee::Registers& registers) {
    const auto kind = static_cast<idtype_t>(registers.arg(0));
    const auto id = static_cast<Tid>(registers.arg(1));
    const Tid now = kind == P_PID ? real(id) : kind == P_PGID ? real_group(id) : id;
    const auto unwanted = inferior_.put_value(siginfo_t{});
    const Addr info_at = registers.arg(2) != 0 ? Addr{registers.arg(2)} : unwanted.at();
    const Addr pid_at = info_at + offsetof(siginfo_t, si_pid);
    const std::int64_t got = inferior_.attempt(
        SYS_waitid,
        {registers.arg(0), now, info_at, options_of(registers.arg(3)), registers.arg(4)});
    if (got != 0) return std::nullopt;
    const auto pid = inferior_.memory.read_value<Tid>(pid_at);
    if (pid <= 0) return std::nullopt;
    inferior_.memory.write_value(pid_at, shown(registers, pid, (registers.arg(3) & WNOWAIT) != 0));
    return 0;
  }

  tracee::Inferior& inferior_;
  const ids::FoundBoundary& boundary_;
};

}  // namespace

std::map<std::size_t, std::int64_t> answer_waits(const Snapshot& snapshot,
                                                 const ids::FoundBoundary& boundary,
                                                 tracee::Inferior& inferior) {
  std::map<std::size_t, std::int64_t> answers;
  if (boundary.ids.children.empty()) return answers;
  Waits waits(boundary, inferior);
  for (std::size_t i = 0; i < snapshot.saved.threads.size(); ++i) {
    if (snapshot.saved.threads[i].ended || !state::calls_again(snapshot.saved.threads[i])) continue;
    if (const auto answer = waits.make(snapshot.saved.threads[i].registers)) answers[i] = *answer;
  }
  return answers;
}

void give_answer(state::ThreadState& thread, std::int64_t answer) {
  thread.registers.set_syscall_result(answer);
  thread.registers.leave_syscall();
}

}  // namespace ckpt::snapshot
