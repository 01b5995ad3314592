// Epoll sets. The kernel knows an entry by the open file description and by the number that the
// descriptor had when it was added (epoll(7)), which may be closed or another file's by now.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "image/fields.hpp"
#include "state/context.hpp"

namespace ckpt::state {

struct EpollEntry {
  int fd = -1;  // as it was added
  std::uint32_t events = 0;
  std::uint64_t data = 0;
  std::size_t description = 0;
};

struct Epoll {
  std::vector<EpollEntry> entries;
  /// Whether something was ready at the save. If not, what edge-triggered entries report when they
  /// are added again had been reported before.
  bool ready = false;
  /// How it polls devices itself (EPIOCGPARAMS, Linux 6.9), struct epoll_params; 0: as by default.
  std::uint64_t busy_polling = 0;
};

/// Finds out which description the entry at `slot` (the how manieth of this number) of an epoll set
/// refers to, among those with the same inode and device.
using FindDescription = std::function<std::optional<std::size_t>(
    int fd, std::uint32_t slot, std::uint64_t inode, dev_t device)>;

/// `own`: our duplicate of the epoll descriptor, or -1.
Epoll read_epoll(CaptureContext& context, const std::string& object, const std::string& info,
                 int own, const FindDescription& find);

const image::Fields<EpollEntry>& fields_of(const EpollEntry* /*type*/);
const image::Fields<Epoll>& fields_of(const Epoll* /*type*/);

/// What cannot be set again is said, after `object`.
int make_epoll(RestoreContext& inferior, const Epoll& epoll, const std::string& object);

/// Adds the entries, when all descriptors have their final numbers. `number_of`: a descriptor of
/// the process that refers to a description; nothing if none does.
/// Returns what could not be added, in words.
std::vector<std::string> fill_epoll(
    RestoreContext& inferior, int epoll_fd, const Epoll& epoll,
    const std::function<std::optional<int>(const EpollEntry&)>& number_of);

}  // namespace ckpt::state
