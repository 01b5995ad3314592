#include "tracee/remote.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.hpp"

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
  constexpr std::array<std::byte, 2> kSyscall = {std::byte{0x0f}, std::byte{0x05}};
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
                           Addr syscall_instruction, std::optional<unsigned long> tracer_options)
    : group_(group),
      tid_(tid),
      inner_(inner),
      memory_(memory),
      instruction_(syscall_instruction),
      tracer_options_(tracer_options) {
  if (const auto reason = why_no_calls(tid))
    fail(ErrorKind::refused, "thread {}: no system call can be run in it: {}", tid, *reason);
  siginfo_ = get_siginfo(tid);
  if (siginfo_ && event_of(*siginfo_) == PTRACE_EVENT_CLONE) {
    // The kernel is still inside clone and will write its result over rax: let it.
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
  set_signal_mask(tid, kAllSignals);
}

RemoteThread::~RemoteThread() {
  try {
    restore();
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch)
    // The thread is gone, or about to be: there is nobody left to tell.
  }
}

void RemoteThread::restore() {
  if (!active_) return;
  land();
  set_registers(tid_, registers_);
  set_signal_mask(tid_, mask_);
  if (rseq_word_ && rseq_value_ != 0) memory_.write_value(*rseq_word_, rseq_value_);
  if (siginfo_) set_siginfo(tid_, *siginfo_);
  if (tracer_options_) set_options(tid_, *tracer_options_);
  if (owed_stops_ > 0) ::syscall(SYS_tgkill, group_, tid_, SIGSTOP);
  active_ = false;
}

// Resumes and waits; SIGSTOPs of others that arrive before the thread runs anything are set aside.
int RemoteThread::next_stop(Resume how) {
  for (;;) {
    resume(tid_, how);
    const int status = wait_stop(tid_);
    if (stop_event(status) == 0 && WSTOPSIG(status) == SIGSTOP) {
      ++owed_stops_;
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
  registers.rip = instruction_.value;
  registers.rax = static_cast<std::uint64_t>(number);
  registers.orig_rax = ~0ULL;
  registers.rdi = arguments[0];
  registers.rsi = arguments[1];
  registers.rdx = arguments[2];
  registers.r10 = arguments[3];
  registers.r8 = arguments[4];
  registers.r9 = arguments[5];
  set_registers(tid_, registers);
  landed_ = false;
}

std::int64_t RemoteThread::call(long number, std::array<std::uint64_t, 6> arguments) {
  prepare_call(number, arguments);
  expect_syscall_stop();
  expect_syscall_stop();
  return static_cast<std::int64_t>(get_registers(tid_).rax);
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
  const auto result = static_cast<std::int64_t>(get_registers(tid_).rax);
  if (created != 0) wait_stop(created);
  return result;
}

Scratch RemoteThread::make_scratch(std::uint64_t data_bytes, Addr where) {
  const std::uint64_t total_bytes = kPageSize + data_bytes;
  // MAP_FIXED_NOREPLACE: a place that is taken after all is an error, not a loss.
  const auto flags =
      static_cast<std::uint64_t>(MAP_PRIVATE | MAP_ANONYMOUS | (where ? MAP_FIXED_NOREPLACE : 0));
  // Never writable and executable at once, nor one after the other: hardened systems refuse that.
  // We write the code through /proc/PID/mem, which needs no write permission.
  const Addr start{checked_call(
      "mmap (scratch)", SYS_mmap,
      {where.value, total_bytes, PROT_READ | PROT_EXEC, flags, static_cast<std::uint64_t>(-1), 0})};
  Scratch scratch{start, start + kPageSize, data_bytes};
  const std::int64_t protected_ =
      call(SYS_mprotect, {scratch.data.value, data_bytes, PROT_READ | PROT_WRITE});
  if (protected_ != 0) {
    drop_scratch(scratch);
    throw_errno(fmt::format("thread {}: mprotect (scratch)", tid_), static_cast<int>(-protected_));
  }
  memory_.write(scratch.code, loop_code());
  return scratch;
}

void RemoteThread::drop_scratch(const Scratch& scratch) {
  checked_call("munmap (scratch)", SYS_munmap, {scratch.code.value, scratch.size()});
}

void RemoteThread::run_at(Addr rip, Addr table, std::uint64_t rows, bool stop_at_failure,
                          Addr end) {
  Registers registers = registers_;
  registers.rip = rip.value;
  registers.rax = 0;
  registers.orig_rax = ~0ULL;
  registers.rbx = table.value;
  registers.r12 = rows;
  registers.r13 = static_cast<std::uint64_t>(inner_.group);
  registers.r14 = static_cast<std::uint64_t>(inner_.thread);
  registers.r15 = stop_at_failure ? 1 : 0;
  registers.eflags &= ~0x500ULL;  // no single-stepping, forward string operations
  set_registers(tid_, registers);
  landed_ = false;
  for (;;) {
    resume(tid_, Resume::run);
    const int status = wait_stop(tid_);
    if (stop_event(status) == PTRACE_EVENT_STOP) continue;
    if (stop_event(status) != 0 || WSTOPSIG(status) != SIGSTOP)
      fail(ErrorKind::refused, "thread {}: {} while running system calls for us", tid_,
           describe_status(status));
    if (get_registers(tid_).rip == end.value) break;
    ++owed_stops_;
  }
  landed_ = true;
}

void RemoteThread::run(const Scratch& scratch, std::span<LoopEntry> table, bool stop_at_failure,
                       const char* what) {
  const std::uint64_t capacity = scratch.data_bytes / sizeof(LoopEntry);
  const Addr entry = scratch.code + loop_run_offset();
  const Addr end = scratch.code + loop_end_offset();
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
  // Palette 1, tile 0 of one row of four bytes: the least that is a configuration.
  std::array<std::byte, 64> configuration{};
  configuration[0] = std::byte{1};
  configuration[16] = std::byte{4};
  configuration[48] = std::byte{1};
  memory_.write(scratch.data, configuration);
  run_at(scratch.code + loop_tiles_offset(), scratch.data, 0, false,
         scratch.code + loop_end_offset());
}

void RemoteThread::land() {
  if (landed_) return;
  if (::syscall(SYS_tgkill, group_, tid_, SIGSTOP) != 0)
    throw_errno(fmt::format("thread {}: tgkill", tid_), errno);
  for (;;) {
    resume(tid_, Resume::run);
    const int status = wait_stop(tid_);
    if (stop_event(status) == 0 && WSTOPSIG(status) == SIGSTOP) break;
    if (stop_event(status) == PTRACE_EVENT_STOP) continue;
    fail(ErrorKind::refused, "thread {}: {} on the way back", tid_, describe_status(status));
  }
  landed_ = true;
}

}  // namespace ckpt::tracee
