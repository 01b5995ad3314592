#include "state/descriptors/same_descriptions.hpp"

#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ckpt::state {

// kcmp(2) gives an order: 0 for the same one, 1 for less, 2 for greater, else none.
int SameDescriptions::compare(const OpenDescription& one, const OpenDescription& other) const {
  const auto place = [this](const OpenDescription& open) {
    return open.fd >= 0 ? std::pair(process_.through(), open.fd)
                        : std::pair(::getpid(), open.own.get());
  };
  const auto [one_pid, one_fd] = place(one);
  const auto [other_pid, other_fd] = place(other);
  return static_cast<int>(::syscall(SYS_kcmp, one_pid, other_pid, KCMP_FILE,
                                    static_cast<unsigned long>(one_fd),
                                    static_cast<unsigned long>(other_fd)));
}

bool SameDescriptions::is_same(const OpenDescription& one, const OpenDescription& other) const {
  return inode_of(one) == inode_of(other) && compare(one, other) == 0;
}

SameDescriptions::Place SameDescriptions::find_place(const OpenDescription& open) {
  auto& among = ordered_[inode_of(open)];
  auto low = among.begin();
  auto high = among.end();
  while (low != high) {
    const auto middle = low + (high - low) / 2;
    const int order = compare(**middle, open);
    if (order == 0) return {&among, middle, true};
    if (order == 1)
      low = middle + 1;
    else
      high = middle;
  }
  return {&among, low, false};
}

std::optional<std::size_t> SameDescriptions::find(const OpenDescription& open) {
  const Place place = find_place(open);
  return place.found ? std::optional((*place.at)->description) : std::nullopt;
}

void SameDescriptions::add(const OpenDescription& open) {
  const Place place = find_place(open);
  place.among->insert(place.at, &open);
}

}  // namespace ckpt::state
