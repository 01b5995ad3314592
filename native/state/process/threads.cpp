#include "state/process/threads.hpp"

#include <elf.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <sys/procfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include "base/error.hpp"
#include "base/fault.hpp"
#include "state/process/creation.hpp"
#include "state/process/signals.hpp"

#ifndef NT_SIGINFO
#define NT_SIGINFO 0x53494749
#endif

namespace ckpt::state {

namespace {

using image::Json;

// Answers of the kernel to an interrupted call, seen only by a tracer (include/linux/errno.h).
constexpr std::int64_t kRestartSystem = -512;
constexpr std::int64_t kRestartNoHand = -514;
constexpr std::int64_t kRestartBlock = -516;

constexpr std::uint64_t kRseqCsOffset = 8;  // struct rseq, <linux/rseq.h>

}  // namespace

ThreadState look(const CaptureContext& context, Tid lwp) {
  ThreadState state;
  state.lwp = lwp;
  const proc::Status status = context.process.status(lwp);
  state.tid = status.ns_pids.empty() ? lwp : status.ns_pids.back();
  state.remembered = state.tid;
  state.name = context.process.comm(lwp);
  state.registers = tracee::get_registers(lwp);
  state.xstate = tracee::get_xstate(lwp);
  state.signal_mask = tracee::get_signal_mask(lwp);
  state.stop_info = tracee::get_siginfo(lwp);
  if (const auto rseq = tracee::get_rseq(lwp); rseq && rseq->area)
    state.rseq = {*rseq, context.memory.read_value<std::uint64_t>(rseq->area + kRseqCsOffset)};
  state.attributes = look_at_attributes(lwp);
  state.credentials = credentials_of(status);
  if (status.seccomp == 2)
    if (auto filters = read_filters(lwp)) state.filters = std::move(*filters);
  std::uint64_t head = 0;
  std::size_t length = 0;
  if (::syscall(SYS_get_robust_list, lwp, &head, &length) == 0)
    state.robust_list = {Addr{head}, length};
  return state;
}

ThreadState ended_main_thread(const CaptureContext& context, const ThreadState& living,
                              Addr instruction) {
  ThreadState state;
  state.ended = true;
  state.lwp = context.process.pid();
  const proc::Status status = context.process.status(state.lwp);
  state.tid = status.ns_pids.empty() ? state.lwp : status.ns_pids.back();
  state.remembered = state.tid;
  state.name = context.process.comm(state.lwp);
  state.xstate = living.xstate;
  state.signal_mask = ~0ULL;
  state.attributes = living.attributes;
  state.credentials = living.credentials;
  state.alternate_stack.ss_flags = SS_DISABLE;
  state.registers = living.registers;  // segments and flags
  state.registers.clear();
  state.registers.set_pc(instruction);
  state.registers.set_next_syscall(SYS_exit);
  return state;
}

void ask(CaptureContext& context, ThreadState& state) {
  const auto stack = context.reserve<stack_t>();
  const auto tid_address = context.reserve<std::uint64_t>();
  tracee::Batch batch(context);
  batch.add(SYS_sigaltstack, {0, stack});
  batch.add(SYS_prctl, {PR_GET_TID_ADDRESS, tid_address});
  batch.run();
  if (const int error = tracee::error_of(batch.result(0)))
    throw_errno(fmt::format("thread {}: sigaltstack", state.lwp), error);
  state.alternate_stack = stack.read();
  // "On the alternate stack" follows from the stack pointer; it is an answer, not a setting.
  state.alternate_stack.ss_flags &= ~SS_ONSTACK;
  if (batch.result(1) == 0) state.tid_address = Addr{tid_address.read()};
  ask_attributes(context, state.attributes);
  state.place = look_at_place(context, state.lwp);
  // A clone call that had just ended was let go on to its end: these are the true registers.
  state.registers = context.thread().saved_registers();
}

namespace {

// The system calls that leave a restart block behind (set_restart_fn in the kernel).
bool leaves_restart_block(std::uint64_t number) {
  constexpr std::array<std::uint64_t, 4> kCalls = {SYS_nanosleep, SYS_futex, SYS_clock_nanosleep,
                                                   arch::kSysPoll};
  return std::find(kCalls.begin(), kCalls.end(), number) != kCalls.end();
}

// glibc 2.41 makes its cancellation points in a function of its own (__syscall_cancel), which gets
// the number as its seventh argument: it lies on the stack, right behind a return address. Not so
// in syscall(2), whose return address is the first word and has the call's own argument behind it.
std::optional<std::uint64_t> number_on_stack(const tracee::Memory& memory, Addr stack) {
  std::array<std::uint64_t, 16> words{};
  const std::size_t got = memory.read_some(stack, std::as_writable_bytes(std::span(words)));
  for (std::size_t i = 1; i + 1 < got / sizeof words[0]; ++i) {
    std::array<std::byte, arch::kDirectCallBytes> call{};
    if (leaves_restart_block(words.at(i + 1)) && words.at(i) > call.size() &&
        memory.read_some(Addr{words.at(i)} - call.size(), call) == call.size() &&
        arch::is_direct_call(call))
      return words.at(i + 1);
  }
  return std::nullopt;
}

}  // namespace

bool find_restarted_call(const tracee::Memory& memory, ThreadState& state) {
  auto& registers = state.registers;
  if (registers.syscall_number() != SYS_restart_syscall) return true;
  // The number is loaded shortly before the call.
  std::array<std::byte, 48> code{};
  const Addr end = registers.pc() - arch::kSyscallBytes;
  if (memory.read_some(end - code.size(), code) == code.size()) {
    if (const auto number = arch::last_number_loaded(code, leaves_restart_block)) {
      registers.set_syscall_number(*number);
      return true;
    }
  }
  if (const auto number = number_on_stack(memory, registers.sp())) {
    registers.set_syscall_number(*number);
    return true;
  }
  // syscall(2) was told the number: then the arguments must tell.
  constexpr std::uint64_t kLowestAddress = 0x10000;
  constexpr std::uint64_t kPrivate = 128;
  constexpr std::uint64_t kRealtime = 256;
  const std::uint64_t operation = registers.arg(1) & ~(kPrivate | kRealtime);
  if (registers.arg(0) < kLowestAddress && registers.arg(2) >= kLowestAddress)
    registers.set_syscall_number(SYS_clock_nanosleep);
  else if (registers.arg(0) % 4 == 0 && (operation == 0 || operation == 9) &&
           registers.arg(3) >= kLowestAddress)
    registers.set_syscall_number(SYS_futex);
  else if (registers.arg(1) == 0 || registers.arg(1) >= kLowestAddress)
    registers.set_syscall_number(SYS_nanosleep);
  else
    return false;
  return true;
}

void prepare_restart(ThreadState& state, bool deliverable, bool same_process) {
  auto& registers = state.registers;
  if (!registers.in_syscall()) return;
  const auto result = registers.syscall_result();
  // The kernel's note of how to go on (a deadline) stays behind with the old process; the call is
  // made again with the time-out it was made with. A handler still gets its EINTR.
  if (result == kRestartBlock && !same_process) registers.set_syscall_result(kRestartNoHand);
  // Calls that are never restarted after a debugger's stop (signal(7)), though nothing happened:
  // without a signal to be handled the program must not see EINTR.
  constexpr std::array<std::uint64_t, 17> kHarmless = {
      arch::kSysEpollWait, SYS_epoll_pwait, 441 /* epoll_pwait2 */, SYS_rt_sigtimedwait, SYS_semop,
      SYS_semtimedop, SYS_io_getevents,
      // with SO_RCVTIMEO: EINTR says that nothing was received
      SYS_recvfrom, SYS_recvmsg, SYS_accept, SYS_accept4, SYS_read, SYS_readv,
      // with SO_SNDTIMEO, likewise that nothing was sent
      SYS_sendto, SYS_sendmsg, SYS_write, SYS_writev};
  if (result == -EINTR && !deliverable &&
      std::find(kHarmless.begin(), kHarmless.end(), registers.syscall_number()) != kHarmless.end())
    registers.set_syscall_result(kRestartNoHand);
}

bool calls_again(const ThreadState& state) {
  const auto result = state.registers.syscall_result();
  return state.registers.in_syscall() && result <= kRestartSystem && result >= kRestartNoHand;
}

tracee::GoingOn going_on(const CaptureContext& context, Tid lwp, const tracee::Registers& registers,
                         std::uint64_t mask) {
  const proc::Status status = context.process.status(lwp);
  const std::uint64_t handled = status.caught & ~mask;
  ThreadState state;
  state.registers = registers;
  find_restarted_call(context.memory, state);
  prepare_restart(state, ((status.pending | status.shared_pending) & handled) != 0, false);
  tracee::GoingOn to;
  to.registers = state.registers;
  if (!calls_again(state)) return to;
  const auto result = to.registers.syscall_result();
  to.behind_call = to.registers.pc();
  to.registers.repeat_syscall();
  if (result == kRestartNoHand) to.interrupting = handled;
  return to;
}

std::vector<Addr> pointers_of(const tracee::Registers& registers) {
  std::vector<Addr> values;
  const std::size_t count = arch::register_names().size();
  values.reserve(count);
  for (std::size_t i = 0; i < count; ++i) values.emplace_back(arch::get_register(registers, i));
  return values;
}

namespace {

struct RegisterMap {
  static Json write(const tracee::Registers& registers) {
    Json json = Json::object();
    const auto names = arch::register_names();
    for (std::size_t i = 0; i < names.size(); ++i)
      json[std::string(names[i])] = arch::get_register(registers, i);
    return json;
  }
  static tracee::Registers read(const Json& json) {
    tracee::Registers registers{};
    if (!json.is_object()) image::mistyped("map");
    const auto names = arch::register_names();
    for (std::size_t i = 0; i < names.size(); ++i) {
      const auto found = json.find(names[i]);
      if (found == json.end()) image::missing(names[i]);
      arch::set_register(registers, i, image::decode<std::uint64_t>(*found));
    }
    return registers;
  }
  static Json type(image::Catalog& /*catalog*/) { return {{"texts", "int"}}; }
};

struct AlternateStack {
  Addr sp;
  int flags = 0;
  std::uint64_t size_bytes = 0;
};

const image::Fields<AlternateStack>& fields_of(const AlternateStack* /*type*/) {
  static const image::Fields<AlternateStack> fields = {
      "altstack",
      {{"sp", &AlternateStack::sp, ""},
       {"flags", &AlternateStack::flags, "SS_DISABLE, SS_AUTODISARM"},
       {"size", &AlternateStack::size_bytes, "in bytes"}}};
  return fields;
}

struct StackForm {
  static Json write(const stack_t& stack) {
    return image::encode(AlternateStack{Addr{reinterpret_cast<std::uint64_t>(stack.ss_sp)},
                                        stack.ss_flags, stack.ss_size});
  }
  static stack_t read(const Json& json) {
    const auto read = image::decode<AlternateStack>(json);
    stack_t stack{};
    // NOLINTNEXTLINE(performance-no-int-to-ptr): an address of the other process
    stack.ss_sp = reinterpret_cast<void*>(read.sp.value);
    stack.ss_flags = read.flags;
    stack.ss_size = read.size_bytes;
    return stack;
  }
  static Json type(image::Catalog& catalog) { return image::Codec<AlternateStack>::type(catalog); }
};

using RobustListForm = image::Row<RobustList, &RobustList::head, &RobustList::head_bytes>;

void check_thread(ThreadState& state) {
  if (state.tid <= 0 || state.lwp <= 0 || state.remembered <= 0) image::damaged("a thread's id");
  if (state.xstate.size() < arch::kLeastXstateBytes || state.xstate.size() > (1U << 20U))
    image::damaged("a thread's extended state");
  if (state.held_signal < 0 || state.held_signal > 64) image::damaged("a held signal");
}

}  // namespace

const image::Fields<Rseq>& fields_of(const Rseq* /*type*/) {
  static const image::Fields<Rseq> fields = {
      "rseq",
      {{"area", &Rseq::area, "its address"},
       {"size", &Rseq::size_bytes, "in bytes"},
       {"signature", &Rseq::signature, ""},
       {"flags", &Rseq::flags, ""},
       {"critical_section", &Rseq::critical_section, "the word `rseq_cs`"}}};
  return fields;
}

const image::Fields<ThreadState>& fields_of(const ThreadState* /*type*/) {
  using enum image::Presence;
  using T = ThreadState;
  using Field = image::Field<T>;
  static const image::Fields<T> fields = {
      "thread",
      {{"tid", &T::tid, "thread id as the program sees it"},
       {"lwp", &T::lwp, "the same as the saver saw it: it differs in another PID namespace"},
       {"remembered", &T::remembered,
        "the same as the program remembers it: other than `tid` if the process had been restored "
        "with new ids"},
       {"attributes", &T::attributes, ""},
       {"place", &T::place, "only of a thread that does not share it with the main one", unusual},
       {"ended", &T::ended, "the main thread, which has ended while others go on"},
       {"number", &T::number, "GDB's global thread number; 0 without GDB"},
       {"pthread", &T::pthread, "`pthread_t`; 0 when unknown"},
       {"name", &T::name, "`/proc/PID/task/TID/comm`"},
       Field::as<RegisterMap>("registers", &T::registers,
                              "the 27 members of `struct user_regs_struct`, `orig_rax`, `fs_base` "
                              "and `gs_base` among them"),
       {"xstate", &T::xstate,
        "the XSAVE area in the standard format, as `PTRACE_GETREGSET` with `NT_X86_XSTATE` gives "
        "it; XCR0 at byte 464"},
       {"sigmask", &T::signal_mask, "blocked signals; bit N-1 is signal N"},
       Field::as<image::Optional<siginfo_t, Siginfo>>(
           "stop_info", &T::stop_info,
           "the 128 bytes of the siginfo that the thread was stopped with"),
       {"held_signal", &T::held_signal,
        "the signal that the debugger would have delivered, 0 for none; its siginfo is "
        "`stop_info`"},
       Field::as<Siginfos>("queued", &T::queued,
                           "signals queued for the thread, 128 bytes of siginfo each"),
       Field::as<StackForm>("altstack", &T::alternate_stack, "sigaltstack(2)"),
       {"rseq", &T::rseq, "the registration of rseq(2)"},
       {"tid_address", &T::tid_address, "what `set_tid_address` was called with"},
       {"id_field", &T::id_field,
        "address at which the C library keeps the thread's id; 0 when unknown"},
       {"id_registers", &T::id_registers,
        "names of registers in which functions of the C library, inside which it is, have ids: "
        "those for locks its own, those that ask for ids for the library itself any thread's, "
        "those for clocks the CPU clock of any"},
       {"id_words", &T::id_words,
        "addresses of words on the stack in which such functions have them"},
       {"lock_pointers", &T::lock_pointers,
        "the values of the registers in functions for locks, one of which points to the lock"},
       Field::as<RobustListForm>("robust_list", &T::robust_list,
                                 "address of the head, and its length"),
       {"credentials", &T::credentials, "if it is missing, they are not known", unusual},
       Field::as<image::Optional<tracee::Registers, RegisterMap>>(
           "beyond_vdso", &T::beyond_vdso,
           "as `registers`: for a thread inside the vdso, the registers with which it comes out of "
           "it. Memory is right for both: what the thread is about to write for its caller has "
           "been written. May be missing: not inside, or not known",
           unusual),
       {"seccomp", &T::filters, "filters, the one that was set first first", unusual}},
      check_thread};
  return fields;
}

std::vector<image::Note> thread_notes(const ThreadState& state, Tid process) {
  const auto note = [](const char* owner, std::uint32_t type, const void* data, std::size_t size) {
    image::Note made{owner, type, {}};
    const auto* first = static_cast<const std::byte*>(data);
    made.content.assign(first, first + size);
    return made;
  };
  elf_prstatus status{};
  if (state.stop_info) {
    status.pr_info.si_signo = state.stop_info->si_signo;
    status.pr_info.si_code = state.stop_info->si_code;
    status.pr_info.si_errno = state.stop_info->si_errno;
  }
  // What a core file says the thread died of; a debugger's own stops are not the program's.
  status.pr_cursig = static_cast<short>(state.held_signal);
  status.pr_sighold = state.signal_mask;
  status.pr_pid = state.tid;
  status.pr_ppid = 0;
  status.pr_pgrp = process;
  status.pr_fpvalid = 1;
  static_assert(sizeof status.pr_reg <= sizeof(tracee::Registers));
  std::memcpy(&status.pr_reg, &state.registers, sizeof status.pr_reg);
  std::vector<image::Note> notes;
  notes.push_back(note("CORE", NT_PRSTATUS, &status, sizeof status));
  notes.push_back(note("CORE", NT_FPREGSET, state.xstate.data(),
                       std::min(state.xstate.size(), arch::kFloatingPointBytes)));
  const auto xstate = arch::area_for_debuggers(state.xstate, arch::own_xstate_layout());
  notes.push_back(note("LINUX", arch::kExtendedStateNote, xstate.data(), xstate.size()));
  if (state.stop_info)
    notes.push_back(note("CORE", NT_SIGINFO, &*state.stop_info, sizeof(siginfo_t)));
  return notes;
}

std::vector<Tid> create_threads(tracee::Inferior& inferior, const std::vector<ThreadState>& states,
                                ThreadCreation how) {
  if (states.empty()) return {};
  std::vector<Tid> created(states.size() - 1);
  const auto id = inferior.reserve<Tid>();
  const auto arguments_at = inferior.reserve<clone_args>();
  for (std::size_t count = 1; count < states.size(); ++count) {
    const std::size_t i = how.last_first ? states.size() - count : count;
    clone_args arguments{};
    arguments.flags =
        CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    if (how.keep_ids) {
      id.write(states[i].remembered);
      arguments.set_tid = id.at().value;
      arguments.set_tid_size = 1;
    }
    arguments_at.write(arguments);
    const std::int64_t result =
        inferior.thread().call_clone(SYS_clone3, {arguments_at.at().value, sizeof arguments});
    if (result < 0)
      throw_not_created("a thread", how.keep_ids ? states[i].remembered : 0,
                        tracee::error_of(result));
    created[i - 1] = static_cast<Tid>(result);
  }
  return created;
}

void set_up_thread(RestoreContext& inferior, const ThreadState& state) {
  constexpr std::size_t kLongestName = 15;  // TASK_COMM_LEN, without the zero at its end
  const Tid now = inferior.tid();
  const auto stack = inferior.put_value(state.alternate_stack);
  const auto name = inferior.put_string(state.name.substr(0, kLongestName));
  tracee::Batch batch(inferior);
  batch.add(SYS_set_tid_address, {state.tid_address});
  if (const RobustList& list = state.robust_list; list.head)
    batch.add(SYS_set_robust_list, {list.head, list.head_bytes});
  if (state.rseq) {
    // Registering wants an area that no critical section is using.
    inferior.memory.write_value(state.rseq->area + kRseqCsOffset, std::uint64_t{0});
    batch.add(SYS_rseq,
              {state.rseq->area, state.rseq->size_bytes, state.rseq->flags, state.rseq->signature});
  }
  batch.add(SYS_sigaltstack, {stack, 0});
  batch.add(SYS_prctl, {PR_SET_NAME, name});
  batch.run_all("set up the thread");
  restore_own_attributes(inferior, state.attributes);
  if (state.place) restore_place(inferior, *state.place);
  // The C library's own field, which mostly is the one that the kernel clears at the thread's end.
  // Only if it holds the id: a program may have had the kernel clear something else.
  if (now != state.tid)
    for (const Addr field : {state.id_field, state.tid_address})
      if (field && inferior.memory.read_value<Tid>(field) == state.tid)
        inferior.memory.write_value(field, now);
  if ((arch::live_components(state.xstate) & arch::kTileData) != 0)
    inferior.thread().touch_tiles(inferior.scratch());
}

bool restores_identity_last(const ThreadState& state) {
  return !state.filters.empty() && !state.attributes.no_new_privs;
}

void restore_identity(RestoreContext& inferior, const ThreadState& state) {
  const Credentials now = credentials_of(proc::ProcessDir(inferior.tid()).status());
  restore_credentials(inferior, state.credentials.value_or(now), now, state.attributes.securebits);
}

void park(tracee::Inferior& inferior, const ThreadState& state) {
  tracee::RemoteThread& thread = inferior.thread();
  thread.land();
  tracee::Registers registers = tracee::get_registers(thread.tid());
  registers.set_pc(inferior.scratch().code + arch::loop_park_offset());
  registers.set_syscall_result(0);
  registers.leave_syscall();
  registers.set_sp(state.registers.sp());
  // libthread_db finds a thread's descriptor through this.
  registers.set_thread_pointer(state.registers.thread_pointer());
  tracee::set_registers(thread.tid(), registers);
  tracee::set_signal_mask(thread.tid(), ~0ULL);
  thread.abandon();
}

void finish_thread(Tid lwp, const tracee::Memory& memory, const ThreadState& state,
                   const arch::XstateLayout& layout) {
  tracee::set_registers(lwp, state.registers);
  tracee::set_xstate(lwp, arch::convert_xstate(state.xstate, layout, tracee::get_xstate(lwp),
                                               arch::own_xstate_layout()));
  tracee::set_signal_mask(lwp, state.signal_mask);
  if (state.rseq)
    memory.write_value(state.rseq->area + kRseqCsOffset, state.rseq->critical_section);
}

}  // namespace ckpt::state
