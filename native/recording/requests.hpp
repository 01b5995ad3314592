// Calls whose effect depends on a request among their arguments.
#pragma once

#include <cstdint>
#include <optional>

namespace ckpt::recording {

/// How many bytes an ioctl(2) of that request writes at its third argument; nothing for a request
/// that is not known.
std::optional<std::uint32_t> ioctl_output(std::uint32_t request);

bool is_known_fcntl(std::uint32_t command);
bool is_known_prctl(std::uint32_t option);
bool is_known_arch_prctl(std::uint32_t code);

}  // namespace ckpt::recording
