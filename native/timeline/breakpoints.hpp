// Breakpoints: where they are, when they count, and how they get into a task.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <set>

#include "arch/arch.hpp"
#include "replayer/task.hpp"

namespace ckpt::timeline {

class Breakpoints {
 public:
  /// Whether a task that stands there is to stop; empty: always.
  using Condition = std::function<bool(const replayer::Task&)>;

  void set(Addr at, Condition condition = {}) { all_.insert_or_assign(at, std::move(condition)); }
  void clear(Addr at) { all_.erase(at); }
  [[nodiscard]] bool empty() const { return all_.empty(); }
  [[nodiscard]] bool has(Addr at) const { return all_.contains(at); }
  [[nodiscard]] std::set<Addr> places() const {
    std::set<Addr> places;
    for (const auto& [at, _] : all_) places.insert(at);
    return places;
  }
  /// Whether the task is at one that counts.
  [[nodiscard]] bool stop(const replayer::Task& task) const {
    const auto found = all_.find(task.registers().pc());
    return found != all_.end() && (!found->second || found->second(task));
  }

  /// In the task's memory, as long as this lives. What is not mapped has none.
  class Inserted {
   public:
    Inserted(const replayer::Task& task, const std::set<Addr>& places);
    ~Inserted();
    Inserted(const Inserted&) = delete;
    Inserted& operator=(const Inserted&) = delete;

   private:
    using Bytes = std::array<std::byte, arch::kBreakpointInstruction.size()>;
    const replayer::Task& task_;
    std::map<Addr, Bytes> originals_;
  };

 private:
  std::map<Addr, Condition> all_;
};

}  // namespace ckpt::timeline
