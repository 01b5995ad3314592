#include "timeline/breakpoints.hpp"

#include "base/error.hpp"

namespace ckpt::timeline {

Breakpoints::Inserted::Inserted(const replayer::Task& task, const std::set<Addr>& places)
    : task_(task) {
  for (const Addr at : places) {
    Bytes original{};
    if (task.memory().read_some(at, original) != original.size()) continue;
    task.memory().write(at, arch::kBreakpointInstruction);
    originals_.emplace(at, original);
  }
}

Breakpoints::Inserted::~Inserted() {
  try {
    for (const auto& [at, original] : originals_) task_.memory().write(at, original);
  } catch (const Error&) {  // the task is gone
  }
}

}  // namespace ckpt::timeline
