// A snapshot as a restore uses it: the file, read and checked, and its record as typed state.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "image/reader.hpp"
#include "state/context.hpp"
#include "state/descriptors/descriptors.hpp"
#include "state/descriptors/ring_numbers.hpp"
#include "state/files/file_source.hpp"
#include "state/ipc/sysv_ipc.hpp"
#include "state/memory/address_space.hpp"
#include "state/process/children.hpp"
#include "state/process/process.hpp"
#include "state/process/signals.hpp"
#include "state/process/threads.hpp"
#include "state/rings/aio.hpp"
#include "state/time/clocks.hpp"
#include "state/time/timers.hpp"
#include "store/objects.hpp"

namespace ckpt::snapshot {

struct Snapshot {
  /// Opens a file and converts its record. Throws Error (damaged, unsupported, not_found).
  explicit Snapshot(const std::string& path);
  /// Of a file that is open: whatever its name leads to by now.
  explicit Snapshot(image::Reader opened);

  image::Reader reader;
  state::KeptFile program;
  state::AddressSpace space;
  std::vector<state::ThreadState> threads;
  arch::XstateLayout xstate_layout;  // of their extended state
  state::ProcessState process;
  state::SignalState signals;
  state::TimerState timers;
  std::vector<state::EndedChild> children;
  state::SysvObjects sysv;
  std::vector<state::AioContext> aio;
  std::vector<state::RingNumber> ring_numbers;
  std::optional<state::ClockState> clocks;
  bool had_own_clocks = false;  // it was in a time namespace other than the saver's
  state::DescriptorTable descriptors;
  std::string terminal_input;  // typed and not read
};

/// Where kept contents are looked for: the store that was asked for, then the one of the save.
std::vector<store::Objects> stores_of(const Snapshot& snapshot,
                                      const state::RestoreOptions& options);

/// Tells `store` of a snapshot that it does not know of, because it was moved: its contents are
/// kept as long as the snapshot is there. Nothing happens when it was saved with another store, or
/// when the store cannot be written to.
void claim_contents(const Snapshot& snapshot, const store::Objects& store);

/// What a user is to be told before a restore, and a debugger has to load.
struct Checked {
  struct Library {
    std::string path;
    std::string copy;
  };
  std::string executable;  // the file a debugger should read symbols from
  bool executable_replaced = false;
  std::vector<Library> libraries;  // those whose file has changed or is gone
  bool hidden = false;  // the program will see files that the debugger cannot look at as it does
  std::vector<std::string> notes;
};

/// Checks all that can be checked without starting anything: machine, files, objects. With
/// `verify_memory` also every byte of the image.
Checked check(const Snapshot& snapshot, const state::RestoreOptions& options, bool verify_memory,
              const state::Progress& progress);

/// The same with files that the caller goes on using.
Checked check(const Snapshot& snapshot, state::FileSource& files, bool verify_memory,
              const state::Progress& progress);

/// Checks what was just written as a restore on this machine would, as if the program that was
/// saved had gone: why it cannot be restored, in words; nothing if it can.
std::optional<std::string> why_not_restorable(image::Reader written);

}  // namespace ckpt::snapshot
