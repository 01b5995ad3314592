// Remote system calls: system calls that a stopped thread of the inferior runs for us, after which
// the thread is exactly as it was.
//
// The order that must not be changed, and why:
//   1. Look at the stop. Inside a system call's entry, at a fork or an exec event there is no place
//      to run anything: the kernel would overwrite our registers when the call ends. Refuse.
//      At a clone event (GDB leaves threads there) go on to the end of the clone call first.
//   2. Save registers, siginfo, signal mask and the rseq word; block all signals.
//   3. Run calls with no call under way (orig_rax = -1), so that the kernel makes no restart of the
//   interrupted call.
//   4. End in a signal-delivery stop (of a signal sent for this). From there, and only from there,
//      the kernel makes the pending restart (a result of -ERESTARTxxx) when the thread is resumed.
//   5. Put everything back; SIGSTOPs that were not ours but met on the way are sent again, because
//      GDB counts on seeing those it sent.
//
// A thread of a program that is to survive us, whatever becomes of us (`go_on`), is let go by the
// kernel wherever it is when we are killed. So from the moment on that it has other registers or
// another mask it has a way back (arch/way_back.hpp), too: registers, which lead there, are set
// before the mask, and put back after it. The signal of step 4 is one that the program ignores:
// SIGSTOP would leave it stopped. The first call, which maps the scratch area with the way back in
// it, and the last one, which unmaps it, find theirs in memory that is borrowed from the program
// meanwhile.
//
// The kernel delivers the signal of a signal-delivery stop if the tracer dies, until the stop has
// been waited for. One that has not been waited for yet is given to the thread when it runs its
// first call, which has all signals blocked: the kernel puts it back among the pending ones, where
// it stays. Until then it may meet the thread on its way back, or before.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "arch/loop.hpp"
#include "arch/way_back.hpp"
#include "base/types.hpp"
#include "proc/maps.hpp"
#include "tracee/memory.hpp"
#include "tracee/ptrace.hpp"

namespace ckpt::tracee {

using arch::GoingOn;
using arch::GoOn;
using arch::LoopEntry;

/// Why a stopped thread can run no call, in words; nothing when it can. `tid` is stopped.
std::optional<std::string> why_no_calls(Tid tid);

/// The address of a system call's instruction in executable memory, in the vdso if it has one.
Addr find_syscall_instruction(const std::vector<proc::Mapping>& mappings, const Memory& memory);

/// A code page and a data area in the inferior, for runs of many calls; behind them, where threads
/// are to survive us, room for the way back of the thread that made it and for that of another.
struct Scratch {
  Addr code;
  Addr data;
  std::uint64_t data_bytes = 0;
  std::uint64_t back_bytes = 0;  // of each way back

  [[nodiscard]] std::uint64_t size() const { return kPageSize + data_bytes + 2 * back_bytes; }
};

class RemoteThread {
 public:
  struct Ids {
    Tid group = 0;  // as the process itself sees them: in its own PID namespace
    Tid thread = 0;
  };

  /// Makes a stopped thread ready. Throws Error (refused) where no call can be run.
  /// `syscall_instruction`: see find_syscall_instruction(). `tracer_options`: for a thread under a
  /// seccomp filter, the ptrace options it has (they cannot be read, and must be set again to
  /// suspend the filter and to put it back); nothing where there is no filter. `go_on`: how the
  /// thread goes on if we are killed; nothing for what is to be killed with us.
  RemoteThread(Tid group, Tid tid, Ids inner, const Memory& memory, Addr syscall_instruction,
               std::optional<unsigned long> tracer_options = std::nullopt, const GoOn& go_on = {});
  RemoteThread(RemoteThread&&) = delete;
  /// Puts the thread back as restore() does, but never throws.
  ~RemoteThread();

  /// Puts the thread back as it was. Throws if that fails.
  void restore();
  /// For a handler of an exception: puts the thread back, its scratch area unmapped if there is
  /// one, and throws the exception on; or an Error that tells as well what could not be put back.
  [[noreturn]] void undo(const Scratch* scratch = nullptr);
  /// Whether the signal that the thread was stopped with is a pending one by now: nobody has to
  /// deliver it any more.
  [[nodiscard]] bool has_queued_signal() const { return queued_signal_; }
  /// Forgets what is to be put back: for threads of our own making that get new registers anyway.
  void abandon() noexcept { active_ = false; }

  /// Runs one call at the `syscall` instruction and returns its raw result (-errno on failure).
  std::int64_t call(long number, std::array<std::uint64_t, 6> arguments = {});
  /// The same; throws Error naming `what` when the call fails.
  std::uint64_t checked_call(const char* what, long number,
                             std::array<std::uint64_t, 6> arguments = {});

  /// Creates a thread or a process: runs the call, which must be clone or clone3, and returns its
  /// raw result. What is new is traced and stopped before its first instruction, if the ptrace
  /// options say so (PTRACE_O_TRACECLONE, PTRACE_O_TRACEFORK).
  std::int64_t call_clone(long number, std::array<std::uint64_t, 6> arguments);

  /// Maps a scratch area of `data_bytes` (plus a page of code) at `where`, or anywhere for 0.
  Scratch make_scratch(std::uint64_t data_bytes, Addr where = Addr{});
  void drop_scratch(const Scratch& scratch);
  /// Before the first call of a thread that did not make the scratch area, and is to survive us:
  /// its way back is in there from now on.
  void enter(const Scratch& scratch);

  /// Runs a table of calls in the scratch area, in pieces if it is long, and fills in the results.
  /// With `stop_at_failure` it throws at the first call that fails, naming its index by `what`.
  void run(const Scratch& scratch, std::span<LoopEntry> table, bool stop_at_failure = false,
           const char* what = "remote call");

  /// From now on single calls run at another `syscall` instruction (the first one is to move).
  void use_instruction(Addr instruction) { instruction_ = instruction; }

  /// Makes the kernel allocate room for AMX tile data for this thread.
  void touch_tiles(const Scratch& scratch);

  /// Leaves the thread in a signal-delivery stop; see the head of this file.
  void land();

  [[nodiscard]] Tid tid() const { return tid_; }
  [[nodiscard]] Tid group() const { return group_; }
  [[nodiscard]] const Registers& saved_registers() const { return registers_; }

 private:
  // Memory of the program that we use for a while, and what was there.
  struct Borrowed {
    Addr at;
    std::vector<std::byte> bytes;
  };

  void take_way_back(Addr frame, Addr code, Addr once);
  void borrow();
  void give_back();
  void block_signals();
  void keep_signal_of_stop(bool untaken, std::uint64_t pending);
  void resume_once(Resume how);
  void run_at(Addr entry, Addr table, std::uint64_t rows, bool stop_at_failure, Addr end);
  void prepare_call(long number, const std::array<std::uint64_t, 6>& arguments);
  int next_stop(Resume how);
  void expect_syscall_stop();

  Tid group_;
  Tid tid_;
  Ids inner_;
  const Memory& memory_;
  Addr instruction_;
  Addr borrowed_instruction_;  // of the program
  std::optional<unsigned long> tracer_options_;
  bool active_ = true;
  bool landed_ = true;
  int owed_stops_ = 0;
  bool owed_signal_ = false;  // the one that ends a run, of another process
  int unqueued_signal_ = 0;   // of a stop that was not waited for; see the head of this file
  bool queued_signal_ = false;
  Registers registers_{};
  std::optional<siginfo_t> siginfo_;
  std::uint64_t mask_ = 0;
  std::optional<Addr> rseq_word_;
  std::uint64_t rseq_value_ = 0;

  int stop_signal_ = SIGSTOP;  // that ends what the thread runs for us
  std::optional<GoingOn> going_on_;
  std::vector<std::byte> xstate_;
  Addr way_back_;       // the frame that the thread would go back by
  Addr scratch_;        // the one in which that is
  bool maker_ = false;  // of that scratch area
  std::vector<Borrowed> borrowed_;
};

}  // namespace ckpt::tracee
