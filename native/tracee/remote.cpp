#include "tracee/remote.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <string>
#include <utility>

#include "base/error.hpp"
#include "base/fault.hpp"
#include "proc/process_dir.hpp"

namespace ckpt::tracee {

namespace {

constexpr std::uint64_t kAllSignals = ~0ULL;
constexpr int kSyscallStop = SIGTRAP | 0x80;  // PTRACE_O_TRACESYSGOOD, which GDB sets as well
constexpr std::uint64_t kRseqCsOffset = 8;    // struct rseq, <linux/rseq.h>

int event_of(const siginfo_t& info) {
  // ptrace(2): at an event stop si_code is SIGTRAP | event << 8.
  if ((info.si_code & 0x7f) != SIGTRAP && (info.si_code >> 8) != PTRACE_EVENT_STOP) return 0;
  return info.si_code > 0xff ? info.si_code >> 8 : 0;
}

int stop_event(int status) { return status >> 16; }

bool is_in(std::uint64_t set, int signal) {
  return (set >> (static_cast<unsigned>(signal) - 1U) & 1U) != 0;
}

// One that the thread would not notice if we were not there to see it: it is ignored where there is
// no handler. If it blocks it, it may wait for it. SIGSTOP if there is none.
int harmless_signal(const proc::Status& status) {
  const std::uint64_t busy = status.caught | status.pending | status.shared_pending;
  for (const std::uint64_t avoided : {busy | status.blocked, busy})
    for (const int signal : {SIGURG, SIGWINCH, SIGCHLD})
      if (!is_in(avoided, signal)) return signal;
  for (int signal = 1; signal < SIGRTMAX; ++signal)
    if (signal != SIGCONT && is_in(status.ignored, signal) && !is_in(busy, signal)) return signal;
  return SIGSTOP;
}

// What the thread's next instruction causes again.
bool is_fault(const siginfo_t& info) {
  constexpr std::array<int, 5> kFaults = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS};
  return info.si_code > 0 &&
         std::find(kFaults.begin(), kFaults.end(), info.si_signo) != kFaults.end();
}

// What it does where one of the signals that have the call fail is pending, beforehand.
void fail_call(GoingOn& going_on) {
  going_on.registers.set_pc(going_on.behind_call);
  going_on.registers.set_syscall_result(-EINTR);
  going_on.interrupting = 0;
}

// As the kernel does it when it interrupts a restartable sequence (struct rseq_cs, <linux/rseq.h>).
void leave_critical_section(GoingOn& going_on, const Memory& memory, Addr description) {
  struct Section {
    std::uint32_t version;
    std::uint32_t flags;
    std::uint64_t start;
    std::uint64_t length;
    std::uint64_t abort;
  };
  Section section{};
  if (memory.read_some(description, std::as_writable_bytes(std::span(&section, 1))) !=
      sizeof section)
    return;
  const Addr at = going_on.registers.pc();
  if (at.value >= section.start && at.value - section.start < section.length)
    going_on.registers.set_pc(Addr{section.abort});
}

// The place of `code` from the last time, or of zeros behind a mapping's code; not in `except`.
std::optional<Addr> find_room_for_code(const std::vector<proc::Mapping>& mappings,
                                       const Memory& memory, std::span<const std::byte> code,
                                       Addr except) {
  std::vector<std::byte> page(kPageSize);
  const auto room_in = [&](const proc::Mapping& mapping) -> std::optional<Addr> {
    const Addr last = mapping.end - kPageSize;
    if (memory.read_some(last, page) != page.size()) return std::nullopt;
    auto found = std::search(page.begin(), page.end(), code.begin(), code.end());
    if (found == page.end()) {
      found = page.end() - static_cast<std::ptrdiff_t>(code.size());
      if (std::any_of(found, page.end(), [](std::byte b) { return b != std::byte{0}; }))
        return std::nullopt;
    }
    return last + static_cast<std::uint64_t>(found - page.begin());
  };
  for (const bool vdso : {true, false})
    for (const auto& mapping : mappings)
      if (mapping.exec && !mapping.shared && (mapping.path == "[vdso]") == vdso &&
          mapping.path != "[vsyscall]" && !mapping.contains(except))
        if (const auto found = room_in(mapping)) return found;
  return std::nullopt;
}

std::optional<Addr> find_room_for_frame(const std::vector<proc::Mapping>& mappings, Addr stack,
                                        std::uint64_t size) {
  constexpr std::uint64_t kAlignment = 64;
  const auto is_own = [](const proc::Mapping& mapping) {
    return mapping.write && mapping.read && !mapping.shared;
  };
  const Addr below{(stack.value - arch::kRedZoneBytes - size) & -kAlignment};
  for (const auto& mapping : mappings)
    if (is_own(mapping) && mapping.start <= below && stack <= mapping.end) return below;
  for (const auto& mapping : mappings)
    if (is_own(mapping) && mapping.end - mapping.start >= size)
      return Addr{(mapping.end.value - size) & -kAlignment};
  return std::nullopt;
}

}  // namespace

std::optional<std::string> why_no_calls(Tid tid) {
  switch (get_syscall_stop(tid)) {
    case SyscallStop::entry: return "it is stopped at the entry of a system call; continue past it";
    case SyscallStop::seccomp: return "it is stopped at a seccomp event; continue past it";
    default: break;
  }
  if (has_syscall_dispatch(tid)) return "it redirects its own system calls (user dispatch)";
  const auto info = get_siginfo(tid);
  if (!info) return std::nullopt;
  switch (event_of(*info)) {
    case PTRACE_EVENT_FORK: return "it is stopped at a fork event; continue past it";
    case PTRACE_EVENT_VFORK: return "it is stopped at a vfork event; continue past it";
    case PTRACE_EVENT_VFORK_DONE: return "it is stopped at the end of a vfork; continue past it";
    case PTRACE_EVENT_EXEC: return "it is stopped at an exec event; step once";
    case PTRACE_EVENT_EXIT: return "it is exiting";
    default: return std::nullopt;
  }
}

Addr find_syscall_instruction(const std::vector<proc::Mapping>& mappings, const Memory& memory) {
  constexpr auto kSyscall = arch::kSyscallInstruction;
  const auto search = [&](const proc::Mapping& mapping) -> std::optional<Addr> {
    constexpr std::uint64_t kChunkBytes = 1U << 20U;
    std::vector<std::byte> bytes;
    for (Addr at = mapping.start; at < mapping.end; at = at + kChunkBytes) {
      bytes.resize(std::min(kChunkBytes, mapping.end - at));
      bytes.resize(memory.read_some(at, bytes));
      const auto found = std::search(bytes.begin(), bytes.end(), kSyscall.begin(), kSyscall.end());
      if (found != bytes.end()) return at + static_cast<std::uint64_t>(found - bytes.begin());
    }
    return std::nullopt;
  };
  for (const auto& mapping : mappings)
    if (mapping.path == "[vdso]")
      if (const auto found = search(mapping)) return *found;
  for (const auto& mapping : mappings)
    if (mapping.exec && mapping.path != "[vsyscall]")
      if (const auto found = search(mapping)) return *found;
  fail(ErrorKind::refused, "the program's memory holds no syscall instruction to borrow");
}

RemoteThread::RemoteThread(Tid group, Tid tid, Ids inner, const Memory& memory,
                           Addr syscall_instruction, std::optional<unsigned long> tracer_options,
                           const GoOn& go_on)
    : group_(group),
      tid_(tid),
      inner_(inner),
      memory_(memory),
      instruction_(syscall_instruction),
      borrowed_instruction_(syscall_instruction),
      tracer_options_(tracer_options) {
  if (const auto reason = why_no_calls(tid))
    fail(ErrorKind::refused, "thread {}: no system call can be run in it: {}", tid, *reason);
  siginfo_ = get_siginfo(tid);
  const bool untaken = has_untaken_stop(tid);
  if (siginfo_ && event_of(*siginfo_) == PTRACE_EVENT_CLONE) {
    // The kernel is still inside clone and will write its result over a register: let it.
    const int status = next_stop(Resume::to_syscall);
    if (WSTOPSIG(status) != kSyscallStop)
      fail(ErrorKind::refused, "thread {}: {} at the end of clone", tid, describe_status(status));
    siginfo_.reset();
    landed_ = false;
  } else if (siginfo_ && event_of(*siginfo_) != 0) {
    siginfo_.reset();  // the trap of PTRACE_INTERRUPT: nothing to put back
  }
  registers_ = get_registers(tid);
  mask_ = get_signal_mask(tid);
  const auto rseq = get_rseq(tid);
  if (rseq && rseq->area) {
    // The kernel clears rseq_cs when it finds the thread elsewhere, and the abort would be lost.
    rseq_word_ = rseq->area + kRseqCsOffset;
    rseq_value_ = memory_.read_value<std::uint64_t>(*rseq_word_);
  }
  if (tracer_options_) set_options(tid, *tracer_options_ | PTRACE_O_SUSPEND_SECCOMP);
  if (!go_on) {
    block_signals();
    return;
  }
  const proc::Status status = proc::ProcessDir(group).status(tid);
  stop_signal_ = harmless_signal(status);
  going_on_ = go_on(registers_, mask_);
  // In sigsuspend and its like another mask is in force, which would let signals in on the way
  // back. With this one they stay pending, and the call, made again, lets them in.
  set_signal_mask(tid, mask_);
  if ((status.pending & going_on_->interrupting) != 0) fail_call(*going_on_);
  if (siginfo_) keep_signal_of_stop(untaken, status.pending);
  if (rseq_word_ && rseq_value_ != 0)
    leave_critical_section(*going_on_, memory_, Addr{rseq_value_});
  xstate_ = get_xstate(tid);
}

RemoteThread::~RemoteThread() {
  try {
    restore();
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch)
    // The thread is gone, or about to be: nothing is left to put back.
  }
}

void RemoteThread::restore() {
  if (!active_) return;
  land();
  set_signal_mask(tid_, mask_);
  set_registers(tid_, registers_);
  if (rseq_word_ && rseq_value_ != 0) memory_.write_value(*rseq_word_, rseq_value_);
  if (siginfo_ && !queued_signal_) set_siginfo(tid_, *siginfo_);
  if (tracer_options_) set_options(tid_, *tracer_options_);
  if (owed_stops_ > 0) ::syscall(SYS_tgkill, group_, tid_, SIGSTOP);
  if (owed_signal_) ::syscall(SYS_tgkill, group_, tid_, stop_signal_);
  active_ = false;
  give_back();
}

// Whether we are killed before or after the thread has run something: the signal is delivered,
// once.
void RemoteThread::keep_signal_of_stop(bool untaken, std::uint64_t pending) {
  const int signal = siginfo_->si_signo;
  if (signal == SIGSTOP) return;
  if (is_fault(*siginfo_)) {
    // It must not be delivered on the way back. It is taken by waiting for the stop.
    if (untaken) wait_stop(tid_);
    return;
  }
  // Behind another one of its kind it would come in a wrong order, or be one with it.
  if (untaken && !is_in(pending, signal)) {
    unqueued_signal_ = signal;
    if (is_in(going_on_->interrupting, signal)) fail_call(*going_on_);
    return;
  }
  if (signal == SIGTRAP) return;  // a debugger's business
  going_on_->held = siginfo_;
  going_on_->group = inner_.group;
  going_on_->thread = inner_.thread;
}

void RemoteThread::resume_once(Resume how) {
  if (unqueued_signal_ != 0) queued_signal_ = true;
  resume(tid_, how, std::exchange(unqueued_signal_, 0));
}

void RemoteThread::block_signals() {
  set_signal_mask(tid_, kAllSignals & ~(1ULL << (static_cast<unsigned>(stop_signal_) - 1U)));
}

// The thread has not run anything for us yet, or is on another way back.
void RemoteThread::take_way_back(Addr frame, Addr code, Addr once) {
  memory_.write(frame, arch::way_back_frame(frame, *going_on_, mask_, xstate_));
  Registers registers = registers_;
  registers.set_pc(once + arch::kSyscallBytes);  // behind the call
  registers.set_sp(arch::way_back_stack(frame));
  registers.set_syscall_result(0);
  registers.leave_syscall();
  registers.clear_stepping_and_direction();
  set_registers(tid_, registers);
  block_signals();
  way_back_ = frame;
  scratch_ = code;
  instruction_ = once;
}

void RemoteThread::enter(const Scratch& scratch) {
  if (!going_on_ || scratch.back_bytes == 0 || scratch_ == scratch.code) return;
  const Addr frame = scratch.data + scratch.data_bytes + (maker_ ? 0 : scratch.back_bytes);
  take_way_back(frame, scratch.code, scratch.code + arch::loop_once_offset());
  give_back();
}

// Code goes where a page of code ends in zeros, the frame below the stack, where a handler's would
// lie, or at the end of any memory of its own.
void RemoteThread::borrow() {
  if (!going_on_) return;
  const auto code = arch::back_code();
  const std::uint64_t frame_bytes = arch::way_back_bytes(xstate_.size());
  const auto mappings = proc::ProcessDir(group_).mappings();
  const auto code_at = find_room_for_code(mappings, memory_, code, scratch_);
  const auto frame_at = find_room_for_frame(mappings, registers_.sp(), frame_bytes);
  if (!code_at || !frame_at) {  // then it does not survive this one call
    way_back_ = scratch_ = Addr{};
    instruction_ = borrowed_instruction_;
    block_signals();
    return;
  }
  for (const auto& [at, size] :
       {std::pair(*code_at, code.size()), std::pair(*frame_at, frame_bytes)}) {
    borrowed_.push_back({at, std::vector<std::byte>(size)});
    memory_.read(at, borrowed_.back().bytes);
  }
  memory_.write(*code_at, code);
  take_way_back(*frame_at, *code_at, *code_at);
}

void RemoteThread::give_back() {
  for (const auto& each : borrowed_) memory_.write(each.at, each.bytes);
  borrowed_.clear();
}

// Resumes and waits; SIGSTOPs of others that arrive before the thread runs anything are set aside.
int RemoteThread::next_stop(Resume how) {
  for (;;) {
    resume_once(how);
    const int status = wait_stop(tid_);
    if (stop_event(status) == 0 && WSTOPSIG(status) == SIGSTOP) {
      ++owed_stops_;
      continue;
    }
    if (stop_event(status) == 0 && WSTOPSIG(status) == stop_signal_) {  // another one's
      owed_signal_ = true;
      continue;
    }
    if (stop_event(status) == PTRACE_EVENT_STOP) continue;  // a group stop, seized: it stays
    return status;
  }
}

void RemoteThread::expect_syscall_stop() {
  const int status = next_stop(Resume::to_syscall);
  if (WSTOPSIG(status) != kSyscallStop)
    fail(ErrorKind::refused, "thread {}: {} while running a system call for us", tid_,
         describe_status(status));
}

void RemoteThread::prepare_call(long number, const std::array<std::uint64_t, 6>& arguments) {
  Registers registers = registers_;
  registers.set_pc(instruction_);
  registers.set_next_syscall(static_cast<std::uint64_t>(number));
  registers.leave_syscall();
  for (std::size_t i = 0; i < arguments.size(); ++i) registers.set_arg(i, arguments.at(i));
  if (way_back_) registers.set_sp(arch::way_back_stack(way_back_));
  set_registers(tid_, registers);
  landed_ = false;
}

std::int64_t RemoteThread::call(long number, std::array<std::uint64_t, 6> arguments) {
  prepare_call(number, arguments);
  expect_syscall_stop();
  expect_syscall_stop();
  return get_registers(tid_).syscall_result();
}

std::uint64_t RemoteThread::checked_call(const char* what, long number,
                                         std::array<std::uint64_t, 6> arguments) {
  const std::int64_t result = call(number, arguments);
  if (result < 0 && result >= -4095)
    throw_errno(fmt::format("thread {}: {}", tid_, what), static_cast<int>(-result));
  return static_cast<std::uint64_t>(result);
}

std::int64_t RemoteThread::call_clone(long number, std::array<std::uint64_t, 6> arguments) {
  prepare_call(number, arguments);
  expect_syscall_stop();
  resume(tid_, Resume::to_syscall);
  int status = wait_stop(tid_);
  Tid created = 0;
  if (stop_event(status) == PTRACE_EVENT_CLONE || stop_event(status) == PTRACE_EVENT_FORK) {
    unsigned long message = 0;
    if (::ptrace(PTRACE_GETEVENTMSG, tid_, nullptr, &message) == -1)
      throw_errno(fmt::format("thread {}: ptrace(GETEVENTMSG)", tid_), errno);
    created = static_cast<Tid>(message);
    resume(tid_, Resume::to_syscall);
    status = wait_stop(tid_);
  }
  if (WSTOPSIG(status) != kSyscallStop)
    fail(ErrorKind::refused, "thread {}: {} while creating a thread", tid_,
         describe_status(status));
  const auto result = get_registers(tid_).syscall_result();
  if (created != 0) wait_stop(created);
  return result;
}

Scratch RemoteThread::make_scratch(std::uint64_t data_bytes, Addr where) {
  maker_ = true;
  borrow();
  const std::uint64_t back_bytes = going_on_ ? page_up(arch::way_back_bytes(xstate_.size())) : 0;
  const std::uint64_t total_bytes = kPageSize + data_bytes + 2 * back_bytes;
  // MAP_FIXED_NOREPLACE: a place that is taken after all is an error, not a loss.
  const auto flags =
      static_cast<std::uint64_t>(MAP_PRIVATE | MAP_ANONYMOUS | (where ? MAP_FIXED_NOREPLACE : 0));
  // Never writable and executable at once, nor one after the other: hardened systems refuse that.
  // We write the code through /proc/PID/mem, which needs no write permission.
  const Addr start{checked_call(
      "mmap (scratch)", SYS_mmap,
      {where.value, total_bytes, PROT_READ | PROT_EXEC, flags, static_cast<std::uint64_t>(-1), 0})};
  Scratch scratch{start, start + kPageSize, data_bytes, back_bytes};
  try {
    checked_call("mprotect (scratch)", SYS_mprotect,
                 {scratch.data.value, data_bytes + 2 * back_bytes, PROT_READ | PROT_WRITE});
    if (going_on_) fault_point("save-map");
    memory_.write(scratch.code, arch::loop_code());
    enter(scratch);
  } catch (...) {
    undo(&scratch);
  }
  return scratch;
}

void RemoteThread::undo(const Scratch* scratch) {
  const std::exception_ptr problem = std::current_exception();
  std::string more;
  try {
    if (scratch != nullptr) drop_scratch(*scratch);
    restore();
  } catch (const Error& error) {
    active_ = false;
    more = fmt::format("thread {} could not be put back: {}", tid_, error.what());
  }
  if (more.empty()) std::rethrow_exception(problem);
  try {
    std::rethrow_exception(problem);
  } catch (const Error& error) {
    throw Error(error.kind(), fmt::format("{}; and {}", error.what(), more), error.error_number());
  } catch (const std::exception& error) {
    fail(ErrorKind::system, "{}; and {}", error.what(), more);
  }
}

void RemoteThread::drop_scratch(const Scratch& scratch) {
  if (scratch_ == scratch.code) borrow();
  checked_call("munmap (scratch)", SYS_munmap, {scratch.code.value, scratch.size()});
}

void RemoteThread::run_at(Addr entry, Addr table, std::uint64_t rows, bool stop_at_failure,
                          Addr end) {
  Registers registers = registers_;
  arch::enter_loop(registers, entry,
                   {table, rows, inner_.group, inner_.thread, stop_at_failure, stop_signal_});
  if (way_back_) registers.set_sp(arch::way_back_stack(way_back_));
  set_registers(tid_, registers);
  landed_ = false;
  for (;;) {
    resume_once(Resume::run);
    const int status = wait_stop(tid_);
    if (stop_event(status) == PTRACE_EVENT_STOP) continue;
    const int signal = WSTOPSIG(status);
    if (stop_event(status) != 0 || (signal != SIGSTOP && signal != stop_signal_))
      fail(ErrorKind::refused, "thread {}: {} while running system calls for us", tid_,
           describe_status(status));
    if (signal == stop_signal_ && get_registers(tid_).pc() == end) break;
    if (signal == SIGSTOP)
      ++owed_stops_;
    else
      owed_signal_ = true;
  }
  landed_ = true;
}

void RemoteThread::run(const Scratch& scratch, std::span<LoopEntry> table, bool stop_at_failure,
                       const char* what) {
  enter(scratch);
  const std::uint64_t capacity = scratch.data_bytes / sizeof(LoopEntry);
  const Addr entry = scratch.code + arch::loop_run_offset();
  const Addr end = scratch.code + arch::loop_end_offset();
  std::size_t done = 0;
  while (!table.empty()) {
    const auto piece = table.first(std::min<std::uint64_t>(capacity, table.size()));
    memory_.write(scratch.data, std::as_bytes(piece));
    run_at(entry, scratch.data, piece.size(), stop_at_failure, end);
    memory_.read(scratch.data, std::as_writable_bytes(piece));
    if (stop_at_failure) {
      for (std::size_t i = 0; i < piece.size(); ++i) {
        const std::int64_t result = piece[i].result;
        if (result < 0 && result >= -4095)
          throw_errno(fmt::format("thread {}: {} (system call {}, step {})", tid_, what,
                                  piece[i].number, done + i),
                      static_cast<int>(-result));
      }
    }
    done += piece.size();
    table = table.subspan(piece.size());
  }
}

void RemoteThread::touch_tiles(const Scratch& scratch) {
  memory_.write(scratch.data, arch::tile_configuration());
  run_at(scratch.code + arch::loop_tiles_offset(), scratch.data, 0, false,
         scratch.code + arch::loop_end_offset());
}

void RemoteThread::land() {
  if (landed_) return;
  if (::syscall(SYS_tgkill, group_, tid_, stop_signal_) != 0)
    throw_errno(fmt::format("thread {}: tgkill", tid_), errno);
  for (;;) {
    resume(tid_, Resume::run);
    const int status = wait_stop(tid_);
    if (stop_event(status) == 0 && WSTOPSIG(status) == stop_signal_) break;
    if (stop_event(status) == 0 && WSTOPSIG(status) == SIGSTOP) {
      ++owed_stops_;
      continue;
    }
    if (stop_event(status) == PTRACE_EVENT_STOP) continue;
    fail(ErrorKind::refused, "thread {}: {} on the way back", tid_, describe_status(status));
  }
  landed_ = true;
}

}  // namespace ckpt::tracee
