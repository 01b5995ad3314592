// Memory that is watched. Works on every machine: what is watched lies on pages that the program
// may not touch while it runs, so that it is stopped there, makes one step, and the memory is
// looked at. Debug registers would be faster where they work, but under some hypervisors they never
// fire.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/types.hpp"
#include "replayer/task.hpp"

namespace ckpt::timeline {

struct Watch {
  /// A write counts only where it changes something. An access is a read, or a write that changes
  /// something or not.
  enum class Kind : std::uint8_t { write, read, access };
  Addr at;
  std::uint64_t size_bytes = 0;
  Kind kind = Kind::write;
  auto operator<=>(const Watch&) const = default;
};

class Watches {
 public:
  void add(const Watch& watch) { all_[watch]; }
  void remove(const Watch& watch) { all_.erase(watch); }
  [[nodiscard]] bool empty() const { return all_.empty(); }

  /// Takes the values as they are.
  void look(const replayer::Task& task);
  /// The first one that has another value than when it was looked at last; looks again.
  std::optional<Watch> find_change(const replayer::Task& task);
  /// The first one that the instruction that comes next will touch, other than by a change.
  [[nodiscard]] std::optional<Watch> find_access(const replayer::Task& task) const;

  /// To be said when something may have changed what is mapped, or how it is protected.
  void forget_pages() { pages_.reset(); }

  /// Keeps the task from the pages, as long as this lives.
  class Guard {
   public:
    Guard(const replayer::Task& task, Watches& watches);
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    /// Whether the stop is of this guard's making: without it the program would have gone on.
    [[nodiscard]] bool has_caused(const replayer::Stop& stop) const;

   private:
    void protect(bool guarded) const;
    const replayer::Task& task_;
    const Watches& watches_;
  };

 private:
  // How a page is protected by the program, and while it is guarded.
  struct Page {
    std::uint64_t own = 0;
    std::uint64_t guarded = 0;
  };
  using Value = std::optional<std::vector<std::byte>>;
  [[nodiscard]] static Value value_of(const Watch& watch, const replayer::Task& task);
  [[nodiscard]] std::map<Addr, Page> find_pages(const replayer::Task& task) const;

  std::map<Watch, Value> all_;
  std::optional<std::map<Addr, Page>> pages_;  // nothing: not known
};

}  // namespace ckpt::timeline
