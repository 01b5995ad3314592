// The kernel's own pages (vdso, vvar) over a save and a restore; state/memory/vdso.hpp says how a
// program gets along with those of another kernel.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "snapshot/snapshot.hpp"
#include "state/memory/vdso.hpp"
#include "tracee/remote.hpp"

namespace ckpt::snapshot {

/// For a save: hides what an earlier restore under this kernel put into the process, and has it
/// saved as it was before. Nothing if there is none. All threads are stopped and traced by the
/// caller.
std::optional<state::VdsoProxy> hide_vdso_proxy(state::CaptureContext& context,
                                                const std::vector<proc::Mapping>& mappings);

/// For a save: finds out where threads that are inside the vdso come out of it, since a restore
/// under another kernel cannot let them go on in there. Afterwards they are where they were. Throws
/// Error (refused) for a thread in pages that the snapshot will not hold.
void look_beyond_vdso(state::CaptureContext& context, const std::vector<proc::Mapping>& mappings,
                      const std::optional<state::VdsoProxy>& proxy,
                      const state::SignalState& signals, std::vector<state::ThreadState>& threads);

/// The release of the kernel whose vdso the program of a snapshot has.
std::string vdso_kernel(const Snapshot& snapshot);

/// For a restore: whether the program needs a proxy here. Nothing is started. Throws Error
/// (unsupported) when there can be none, (damaged).
bool needs_vdso_proxy(const Snapshot& snapshot);

/// One restore under another kernel.
class ProxyInstaller {
 public:
  /// `now`: what is mapped in the fresh program. Precondition: needs_vdso_proxy().
  ProxyInstaller(const Snapshot& snapshot, const std::vector<proc::Mapping>& now);

  /// The address space to be made.
  [[nodiscard]] const state::AddressSpace& space() const { return space_; }
  /// Where the running kernel's pages are to stay.
  [[nodiscard]] Addr parking() const { return proxy_.header + kPageSize; }
  /// Puts the proxy in place and redirects the functions to it. Memory is filled, no thread runs.
  void install(state::RestoreContext& inferior) const;

 private:
  void redirect_signal_frames(state::RestoreContext& inferior) const;

  const Snapshot& snapshot_;
  state::AddressSpace space_;
  state::VdsoProxy proxy_;
  std::vector<std::byte> saved_;
  std::vector<state::VdsoJump> jumps_;
};

/// For a restore: has a thread that was inside the vdso at the save go on where that is possible.
/// `proxy`: of the restored process, if it has one. `other_clocks`: it or the saved one is in a
/// time namespace, where the kernel's pages of clocks are other ones than what the thread has read.
void leave_vdso(state::ThreadState& thread, const std::optional<state::VdsoProxy>& proxy,
                bool other_clocks, const tracee::Memory& memory);

/// The proxy in a process, if it has one.
std::optional<state::VdsoProxy> find_vdso_proxy(const std::vector<proc::Mapping>& mappings,
                                                const tracee::Memory& memory);

}  // namespace ckpt::snapshot
