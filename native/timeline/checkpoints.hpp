// Copies of a replay between its events, from which it goes on again: many near to where it is, few
// far away.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

#include "replayer/replay.hpp"

namespace ckpt::timeline {

class Checkpoints {
 public:
  struct Checkpoint {
    std::shared_ptr<const replayer::Replay> replay;
    double at_s = 0;  // what a replay from the begin to there has taken
  };

  /// The first one stays for ever.
  void add(Checkpoint checkpoint);
  /// The last one that is past no more than so many events.
  [[nodiscard]] const Checkpoint& before(std::uint64_t events) const;
  [[nodiscard]] bool has(std::uint64_t events) const { return all_.contains(events); }
  [[nodiscard]] std::size_t count() const { return all_.size(); }

 private:
  void thin_out(double now_s);

  std::map<std::uint64_t, Checkpoint> all_;  // by the events that they are past
};

}  // namespace ckpt::timeline
