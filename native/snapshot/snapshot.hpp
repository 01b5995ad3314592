// A snapshot as a restore uses it: the file, read and checked, and its record as typed state.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "image/reader.hpp"
#include "snapshot/record.hpp"
#include "state/context.hpp"
#include "state/files/file_source.hpp"
#include "store/objects.hpp"

namespace ckpt::snapshot {

struct Snapshot {
  /// Opens a file and converts its record. Throws Error (damaged, unsupported, not_found).
  explicit Snapshot(const std::string& path);
  /// Of a file that is open: whatever its name leads to by now.
  explicit Snapshot(image::Reader opened);

  /// What the process has open.
  [[nodiscard]] state::DescriptorTable descriptors() const {
    return {saved.descriptors, shared.descriptions};
  }

  image::Reader reader;
  std::string store;  // that it was saved with
  Host host;
  image::Json terminal_size;  // as in the record
  SharedObjects shared;
  ProcessImage saved;                // of the only process: the reader refuses others
  arch::XstateLayout xstate_layout;  // of the threads' extended state
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
