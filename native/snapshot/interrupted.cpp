#include "snapshot/interrupted.hpp"

namespace ckpt::snapshot {

std::vector<ids::Interrupted> interrupted_places(const state::ThreadState& thread,
                                                 const tracee::Memory& memory,
                                                 const state::SignalState& signals,
                                                 const std::vector<proc::PageRun>& stacks) {
  std::vector<std::uint64_t> restorers;
  for (const auto& action : signals.actions)
    if (action.restorer != 0) restorers.push_back(action.restorer);
  if (restorers.empty() || thread.ended) return {};
  return ids::find_interrupted(thread.registers, memory, restorers, stacks);
}

std::vector<proc::PageRun> possible_stacks(const state::AddressSpace& space) {
  std::vector<proc::PageRun> stacks;
  for (const auto& region : space.regions)
    if (region.mapping.write) stacks.push_back({region.mapping.start, region.mapping.end});
  return stacks;
}

}  // namespace ckpt::snapshot
