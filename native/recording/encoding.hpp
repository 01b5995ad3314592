// The bytes of a recording's start and of its events. Numbers are little-endian.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "recording/event.hpp"

namespace ckpt::recording {

void encode(const Start& start, std::vector<std::byte>& into);
void encode(const Event& event, std::vector<std::byte>& into);

/// Takes it from the begin of `bytes`, which are untrusted. Throws Error (damaged).
Start decode_start(std::span<const std::byte>& bytes);
Event decode_event(std::span<const std::byte>& bytes);

}  // namespace ckpt::recording
