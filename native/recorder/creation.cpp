// Calls that make threads, which are recorded, and processes, which are not: they get the program's
// own instructions back and run by themselves.
//
// A child that shares its parent's memory until it executes another program (vfork, posix_spawn)
// would write to memory that is recorded. It gets a copy instead; the parent waits for it as
// before.
#include <linux/sched.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <cerrno>

#include "base/error.hpp"
#include "recorder/session.hpp"
#include "recording/effects.hpp"

namespace ckpt::recorder {

namespace {

// What clone, clone3, fork and vfork ask for.
struct Creation {
  std::uint64_t flags = 0;
  Addr parent_tid;
  Addr child_tid;
};

Creation creation_of(const tracee::Memory& memory, const arch::Registers& entry) {
  const auto& rule = *arch::syscall_rule(entry.syscall_number());
  switch (rule.special) {
    case arch::Special::clone: return {entry.arg(0), Addr{entry.arg(2)}, Addr{entry.arg(3)}};
    case arch::Special::clone3: {
      const Addr at{entry.arg(0)};
      return {memory.read_value<std::uint64_t>(at + offsetof(clone_args, flags)),
              Addr{memory.read_value<std::uint64_t>(at + offsetof(clone_args, parent_tid))},
              Addr{memory.read_value<std::uint64_t>(at + offsetof(clone_args, child_tid))}};
    }
    case arch::Special::vfork: return {CLONE_VM | CLONE_VFORK, {}, {}};
    default: return {};
  }
}

bool makes_thread(const Creation& creation) { return (creation.flags & CLONE_THREAD) != 0; }

// At the call's entry: the child gets a copy of the memory.
void ask_for_copy(const tracee::Memory& memory, Tid tid, const arch::Registers& entry) {
  auto changed = entry;
  const auto& rule = *arch::syscall_rule(entry.syscall_number());
  if (rule.special == arch::Special::clone3) {
    const Addr at = Addr{entry.arg(0)} + offsetof(clone_args, flags);
    memory.write_value(at, memory.read_value<std::uint64_t>(at) & ~std::uint64_t{CLONE_VM});
    return;
  }
  if (rule.special == arch::Special::vfork) {
    changed.set_syscall_number(static_cast<arch::Word>(arch::clone_call()));
    changed.set_arg(0, CLONE_VFORK | static_cast<arch::Word>(SIGCHLD));
    for (std::size_t i = 1; i < arch::kCallArguments; ++i) changed.set_arg(i, 0);
  } else {
    changed.set_arg(0, entry.arg(0) & ~arch::Word{CLONE_VM});
  }
  arch::set_registers(tid, changed);
}

// Behind the call, in whichever memory.
void undo_asking(const tracee::Memory& memory, const arch::Registers& entry, std::uint64_t flags) {
  if (arch::syscall_rule(entry.syscall_number())->special != arch::Special::clone3) return;
  memory.write_value(Addr{entry.arg(0)} + offsetof(clone_args, flags), flags);
}

}  // namespace

std::optional<std::string> Session::why_no_creation(const Thread& thread) const {
  const auto creation = creation_of(memory_, thread.entry);
  if (makes_thread(creation)) return std::nullopt;
  const std::string name(arch::syscall_rule(thread.entry.syscall_number())->name);
  if ((creation.flags & CLONE_VM) != 0 && (creation.flags & CLONE_VFORK) == 0)
    return name + " of a process that shares the memory";
  if (has_shared_memory_) return name + " of a process with shared memory";
  return std::nullopt;
}

void Session::create(Thread& thread) {
  const auto creation = creation_of(memory_, thread.entry);
  const bool shares = !makes_thread(creation) && (creation.flags & CLONE_VM) != 0;
  if (shares) ask_for_copy(memory_, thread.tid, thread.entry);
  auto event = event_of(thread, recording::EventKind::call);
  tracee::resume(thread.tid, tracee::Resume::to_syscall);
  for (int status = tracee::wait_stop(thread.tid);; status = tracee::wait_stop(thread.tid)) {
    const int kind = status >> kEventShift;
    if (kind == PTRACE_EVENT_CLONE || kind == PTRACE_EVENT_FORK || kind == PTRACE_EVENT_VFORK) {
      unsigned long made = 0;
      if (::ptrace(PTRACE_GETEVENTMSG, thread.tid, nullptr, &made) == -1)
        throw_errno(fmt::format("thread {}: ptrace(GETEVENTMSG)", thread.tid), errno);
      if (makes_thread(creation))
        event.new_thread = adopt_thread(static_cast<Tid>(made), creation.flags, creation.child_tid);
      else
        let_child_go(thread, static_cast<Tid>(made), creation.flags);
    } else if (kind == PTRACE_EVENT_STOP) {
      interrupted_ = false;
    } else {
      break;  // its exit
    }
    tracee::resume(thread.tid, tracee::Resume::to_syscall);
  }
  thread.in_call = false;
  const std::int64_t result = arch::get_registers(thread.tid).syscall_result();
  if (shares) undo_asking(memory_, thread.entry, creation.flags);
  constexpr std::int64_t kFirstRestart = -516;
  constexpr std::int64_t kLastRestart = -512;
  if (result >= kFirstRestart && result <= kLastRestart) {
    // A signal comes first, and nothing was made.
    thread.before_call = true;
    thread.leave_at(arch::before_call(thread.entry));
    arch::set_registers(thread.tid, thread.known);
    return;
  }
  thread.leave_at(arch::after_call(thread.entry, result));
  arch::set_registers(thread.tid, thread.known);
  event.number = static_cast<std::int64_t>(thread.entry.syscall_number());
  event.result = result;
  event.at = thread.entry;
  if (event.new_thread) event.after = threads_.back().known;
  if (result > 0 && (creation.flags & CLONE_PARENT_SETTID) != 0)
    event.writes.push_back(recording::memory_now(memory_, creation.parent_tid, sizeof(int)));
  if (event.new_thread && (creation.flags & CLONE_CHILD_SETTID) != 0)
    event.writes.push_back(recording::memory_now(memory_, creation.child_tid, sizeof(int)));
  log(std::move(event));
}

std::uint32_t Session::adopt_thread(Tid tid, std::uint64_t flags, Addr clear_tid) {
  if (strangers_.erase(tid) == 0) tracee::wait_stop(tid);
  Thread& made = add_thread(tid);
  made.leave_at(arch::get_registers(tid));
  if ((flags & CLONE_CHILD_CLEARTID) != 0) made.clear_tid = clear_tid;
  return made.index;
}

void Session::let_child_go(const Thread& parent, Tid child, std::uint64_t flags) {
  if (strangers_.erase(child) == 0) tracee::wait_stop(child);
  const tracee::Memory memory(child);
  sites_.remove_from(memory);
  undo_asking(memory, parent.entry, flags);
  auto registers = arch::get_registers(child);
  for (std::size_t i = 0; i < arch::kCallArguments; ++i) registers.set_arg(i, parent.entry.arg(i));
  arch::set_registers(child, registers);
  tracee::detach(child);
  notes_.insert("processes that the program has made are not recorded");
}

}  // namespace ckpt::recorder
