// The layout of the extended state (arch/xstate.hpp) in the record.
#pragma once

#include "arch/xstate.hpp"
#include "image/codecs.hpp"

namespace ckpt::state {

/// Components that no processor has are damage.
struct Xstate {
  static image::Json write(const arch::XstateLayout& layout);
  static arch::XstateLayout read(const image::Json& json);
  static image::Json type(image::Catalog& catalog);
};

}  // namespace ckpt::state
