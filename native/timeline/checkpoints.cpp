#include "timeline/checkpoints.hpp"

#include <cmath>
#include <iterator>
#include <limits>

namespace ckpt::timeline {

namespace {

constexpr std::size_t kMostCheckpoints = 24;

}  // namespace

void Checkpoints::add(Checkpoint checkpoint) {
  const double now_s = checkpoint.at_s;
  const std::uint64_t events = checkpoint.replay->events();
  all_.insert_or_assign(events, std::move(checkpoint));
  if (all_.size() > kMostCheckpoints) thin_out(now_s);
}

const Checkpoints::Checkpoint& Checkpoints::before(std::uint64_t events) const {
  return std::prev(all_.upper_bound(events))->second;
}

// Without the one that leaves the smallest gap, measured by how far away that is.
void Checkpoints::thin_out(double now_s) {
  constexpr double kNearest = 0.01;
  auto least = all_.end();
  double smallest = std::numeric_limits<double>::max();
  for (auto each = std::next(all_.begin()); std::next(each) != all_.end(); ++each) {
    const double gap = std::next(each)->second.at_s - std::prev(each)->second.at_s;
    const double share = gap / (std::abs(now_s - each->second.at_s) + kNearest);
    if (share < smallest) {
      smallest = share;
      least = each;
    }
  }
  if (least != all_.end()) all_.erase(least);
}

}  // namespace ckpt::timeline
