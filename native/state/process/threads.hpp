// Threads: registers with the whole extended state, signal mask, queued signals, alternate stack,
// thread-local base, rseq and robust-list registration, the kernel's pointer to glibc's tid field,
// and the name.
//
// Capture: look() needs ptrace only, ask() runs calls in the thread itself.
// Restore: create() makes all threads with their saved ids or new ones, set_up_thread() runs the
// calls that only a thread can make for itself, park() leaves it where a debugger may attach,
// finish() gives it its final registers. The order of creation is the order of the record: it
// decides the numbers that GDB gives them.
#pragma once

#include <csignal>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "image/fields.hpp"
#include "state/context.hpp"
#include "state/process/attributes.hpp"
#include "state/process/credentials.hpp"
#include "state/process/seccomp.hpp"
#include "state/process/thread_place.hpp"
#include "state/process/xstate.hpp"
#include "tracee/ptrace.hpp"
#include "tracee/remote.hpp"

namespace ckpt::state {

struct Rseq : tracee::RseqRegistration {
  std::uint64_t critical_section = 0;
};

struct RobustList {
  Addr head;
  std::uint64_t head_bytes = 0;
};

struct ThreadState {
  Tid tid = 0;  // as the program sees it
  Tid lwp = 0;  // as we saw it; differs in another PID namespace
  // As the program remembers it: not the kernel's if the process had been restored with new ids.
  Tid remembered = 0;
  int number = 0;  // GDB's
  std::uint64_t pthread = 0;
  std::string name;
  tracee::Registers registers{};
  std::vector<std::byte> xstate;
  std::uint64_t signal_mask = 0;
  std::optional<siginfo_t> stop_info;
  int held_signal = 0;  // a signal the debugger holds and will deliver, with stop_info
  std::vector<siginfo_t> queued;
  stack_t alternate_stack{};
  std::optional<Rseq> rseq;
  ThreadAttributes attributes;
  std::optional<ThreadPlace> place;
  std::optional<Credentials> credentials;  // unknown in snapshots of earlier versions
  std::vector<SeccompFilter> filters;
  Addr tid_address;
  Addr id_field;  // where the C library keeps the id (struct pthread); 0: unknown
  RobustList robust_list;
  // A main thread that has ended while others go on: the process keeps its id. It has no state but
  // that it ends again.
  bool ended = false;
  // Inside lock functions, which have copies of the id in these registers and words of the stack,
  // and of which registers point to the lock.
  std::vector<std::string> id_registers;
  std::vector<Addr> id_words;
  std::vector<Addr> lock_pointers;
  // Inside the vdso: the registers with which it will come out of it.
  std::optional<tracee::Registers> beyond_vdso;
};

/// Everything that can be read from outside. `lwp` is stopped and traced by the caller.
ThreadState look(const CaptureContext& context, Tid lwp);

/// The state of a main thread that has ended, made so that it ends at once when it is let go.
/// `living`: another thread of the process; `instruction`: see tracee::find_syscall_instruction().
ThreadState ended_main_thread(const CaptureContext& context, const ThreadState& living,
                              Addr instruction);

/// Everything that only the thread itself can tell.
void ask(CaptureContext& context, ThreadState& state);

/// What the registers of an interrupted system call must be so that it goes on although the stop
/// interrupted it. `deliverable`: a signal is about to be handled. `same_process`: the kernel still
/// knows how to go on by itself with calls that have a time-out.
void prepare_restart(ThreadState& state, bool deliverable, bool same_process);

/// Whether the kernel makes a call again when the thread goes on with these registers.
bool calls_again(const ThreadState& state);

/// How a stopped thread goes on if it is no longer traced after it has run calls for us.
tracee::GoingOn going_on(const CaptureContext& context, Tid lwp, const tracee::Registers& registers,
                         std::uint64_t mask);

/// The values of the general registers.
std::vector<Addr> pointers_of(const tracee::Registers& registers);

/// A call with a time-out that was stopped before goes on as restart_syscall(2), of which only the
/// kernel knows which call it was; another process's kernel does not. Finds out, from the code that
/// made the call or from its arguments, and notes the call itself. False if it stays unknown.
bool find_restarted_call(const tracee::Memory& memory, ThreadState& state);

const image::Fields<Rseq>& fields_of(const Rseq* /*type*/);
const image::Fields<ThreadState>& fields_of(const ThreadState* /*type*/);

/// The core file's notes of one thread.
std::vector<image::Note> thread_notes(const ThreadState& state, Tid process);

struct ThreadCreation {
  bool keep_ids = false;
  bool last_first = false;  // in the opposite order of the list
};

/// Creates threads 1.. of the list (0 is the main thread). Returns the new kernel ids, in the order
/// of the list. Throws Error when an id that `keep_ids` asks for cannot be had.
std::vector<Tid> create_threads(tracee::Inferior& inferior, const std::vector<ThreadState>& states,
                                ThreadCreation how);

/// Runs in each new thread, also in the main one.
void set_up_thread(RestoreContext& inferior, const ThreadState& state);

/// Whether a thread's credentials are restored at the very end only: privileges that it has given
/// up are needed to set its filters again.
bool restores_identity_last(const ThreadState& state);

/// Restores the thread's credentials. Runs in each thread, when nothing is left that needs our
/// privileges.
void restore_identity(RestoreContext& inferior, const ThreadState& state);

/// Leaves the thread waiting in the scratch page with all signals blocked; still traced.
void park(tracee::Inferior& inferior, const ThreadState& state);

/// Gives a stopped thread the state it had; nothing of the program has run in between.
/// `layout`: of the extended state.
void finish_thread(Tid lwp, const tracee::Memory& memory, const ThreadState& state,
                   const arch::XstateLayout& layout);

}  // namespace ckpt::state
