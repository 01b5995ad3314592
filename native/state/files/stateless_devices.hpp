// Devices that may be opened again at any time, since they have no state
// (Documentation/admin-guide/devices.txt).
#pragma once

#include <sys/sysmacros.h>

namespace ckpt::state {

/// The usual name of such a device, given its number; nullptr for all others.
inline const char* stateless_device(dev_t number) {
  constexpr unsigned kMemory = 1;
  if (gnu_dev_major(number) != kMemory) return nullptr;
  switch (gnu_dev_minor(number)) {
    case 3: return "/dev/null";
    case 5: return "/dev/zero";
    case 7: return "/dev/full";
    case 8: return "/dev/random";
    case 9: return "/dev/urandom";
    default: return nullptr;
  }
}

}  // namespace ckpt::state
