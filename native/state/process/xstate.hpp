// The layout of the extended state (arch/xstate.hpp) in the record.
#pragma once

#include "arch/xstate.hpp"
#include "image/format.hpp"

namespace ckpt::state {

image::Json xstate_layout_to_json(const arch::XstateLayout& layout);
/// Throws Error (damaged).
arch::XstateLayout xstate_layout_from_json(const image::Json& json);

}  // namespace ckpt::state
