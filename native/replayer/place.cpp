#include "replayer/place.hpp"

#include "recording/memory_digest.hpp"

namespace ckpt::replayer {

namespace {

std::vector<recording::WindowDigest> memory_of(const Task& task) {
  return recording::digest_memory(task.pid(), task.memory());
}

}  // namespace

Place::Place(const recording::Event& preemption)
    : registers_(preemption.at),
      stack_digest_(preemption.stack_digest),
      memory_(preemption.memory) {}

Place::Place(const Task& task)
    : registers_(task.registers()),
      stack_digest_(recording::digest_stack(task.memory(), registers_.sp())),
      task_(&task) {}

bool Place::is_place_of(const Task& task) const { return is_place_of(task, task.registers()); }

bool Place::is_place_of(const Task& task, const arch::Registers& registers) const {
  return registers.pc() == pc() && !arch::first_difference(registers_, registers, false) &&
         recording::digest_stack(task.memory(), registers.sp()) == stack_digest_ &&
         has_memory_of(task);
}

bool Place::has_memory_of(const Task& task) const {
  if (!memory_) memory_ = memory_of(*task_);
  // A recording may lack it.
  if (memory_->empty() && task_ == nullptr) return true;
  auto memory = memory_of(task);
  std::erase_if(memory, [&](const auto& one) { return one.window == ignored_; });
  return *memory_ == memory;
}

}  // namespace ckpt::replayer
