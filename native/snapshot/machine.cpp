#include "snapshot/machine.hpp"

#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/text.hpp"
#include "snapshot/interrupted.hpp"
#include "state/process/xstate.hpp"
#include "state/surroundings/neighbours.hpp"

namespace ckpt::snapshot {

namespace {

std::vector<std::string> processor_features() {
  std::vector<std::string> features;
  const auto text = try_read_file("/proc/cpuinfo");
  if (!text) return features;
  std::string_view rest = *text;
  while (!rest.empty()) {
    std::string_view line = proc::cut(rest, '\n');
    if (!line.starts_with(arch::kProcessorFeatures)) continue;
    proc::cut(line, ':');
    for (auto word = proc::next_word(line); !word.empty(); word = proc::next_word(line))
      if (arch::is_instruction_set(word)) features.emplace_back(word);
    break;
  }
  std::sort(features.begin(), features.end());
  return features;
}

}  // namespace

std::string kernel_release() {
  utsname names{};
  ::uname(&names);
  return names.release;
}

Host this_machine() {
  utsname names{};
  ::uname(&names);
  return {names.release, names.nodename, state::boot_id(), processor_features(),
          arch::own_xstate_layout()};
}

void check_machine(const Snapshot& snapshot) {
  const bool uses_tiles = state::may_use_tiles(snapshot.saved.process);
  const auto features = processor_features();
  const std::set<std::string> have(features.begin(), features.end());
  std::string missing;
  for (const auto& name : snapshot.host.cpu_flags)
    if (arch::is_instruction_set(name) && (uses_tiles || !name.starts_with("amx_")) &&
        !have.contains(name))
      missing += (missing.empty() ? "" : " ") + name;
  if (!missing.empty())
    fail(ErrorKind::unsupported,
         "this processor lacks {}, which the program may be using: restore on a machine that has "
         "them",
         missing);
  const auto& own = arch::own_xstate_layout();
  for (const auto& thread : snapshot.saved.threads)
    if (const auto lost = arch::lost_components(thread.xstate, snapshot.xstate_layout, own);
        !lost.empty())
      fail(ErrorKind::unsupported,
           "thread {}: it has values in registers of {}, which this processor lacks: restore on a "
           "machine that has them",
           thread.tid, lost);
}

void widen_state_saves(const Snapshot& snapshot, const tracee::Memory& memory) {
  constexpr std::uint64_t kMostCodeBytes = 64U << 20U;
  constexpr std::uint64_t kLeastStateBytes = 512;
  constexpr std::uint64_t kMostStateBytes = 64U << 10U;
  const auto& own = arch::own_xstate_layout();
  if (own == snapshot.xstate_layout) return;
  const std::uint64_t needed = arch::state_save_bytes(own);
  for (const auto& region : snapshot.saved.space.regions) {
    const proc::Mapping& map = region.mapping;
    if (!region.file || !map.exec || map.size() > kMostCodeBytes) continue;
    const std::string name = map.path.substr(map.path.rfind('/') + 1);
    // A static program has a linker of its own, for plugins.
    if (!name.starts_with("ld") && map.path != snapshot.saved.program.path) continue;
    std::vector<std::byte> code(map.size());
    code.resize(memory.read_some(map.start, code));
    for (const auto& save : arch::find_state_saves(code)) {
      for (const auto& thread : snapshot.saved.threads) {
        const Addr pc = thread.registers.pc();
        if (pc >= map.start + save.begin && pc < map.start + save.end)
          fail(ErrorKind::unsupported,
               "thread {}: the dynamic linker is saving the extended state of the saving processor "
               "in it, and this one has more: restore on a machine like that of the snapshot, or "
               "save at another place",
               thread.tid);
      }
      const Addr size_at{map.start.value + static_cast<std::uint64_t>(save.size_at)};
      std::uint64_t size = 0;
      const auto bytes = std::as_writable_bytes(std::span(&size, 1));
      if (memory.read_some(size_at, bytes) == sizeof size && size >= kLeastStateBytes &&
          size < std::min(needed, kMostStateBytes))
        memory.write_value(size_at, needed);
    }
  }
}

void refit_signal_frames(const Snapshot& snapshot, const tracee::Memory& memory) {
  const auto& own = arch::own_xstate_layout();
  if (own == snapshot.xstate_layout) return;
  const auto stacks = possible_stacks(snapshot.saved.space);
  for (const auto& thread : snapshot.saved.threads) {
    for (const auto& before : interrupted_places(thread, memory, snapshot.saved.signals, stacks)) {
      const Addr at{memory.read_value<std::uint64_t>(before.place_of_state_pointer())};
      std::vector<std::byte> area(arch::kMostSignalStateBytes);
      area.resize(at ? memory.read_some(at, area) : 0);
      const auto made = arch::convert_signal_state(area, snapshot.xstate_layout, own);
      if (!made) continue;
      if (const auto lost = arch::components_not_in(*made, area, snapshot.xstate_layout);
          !lost.empty())
        fail(
            ErrorKind::unsupported,
            "thread {}: the state that a signal handler will return to has values in registers of "
            "{}, for which this processor has no room there: restore on a machine like that of the "
            "snapshot",
            thread.tid, lost);
      memory.write(at, *made);
    }
  }
}

}  // namespace ckpt::snapshot
