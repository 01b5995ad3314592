// Why a motion has ended.
#pragma once

#include <cstdint>

#include "timeline/watches.hpp"

namespace ckpt::timeline {

struct Halt {
  enum class Kind : std::uint8_t {
    step,
    breakpoint,
    watch,        // before the change or the access when it goes backwards, else behind it
    signal,       // one is to be delivered
    interrupted,  // by the user
    begin,        // of the recording
    end,          // of the recording; the program's own end comes next, if it has one
    ended,        // the program has
    reached       // what the motion was for
  };
  Kind kind = Kind::step;
  int signal = 0;
  Watch watch{};
};

}  // namespace ckpt::timeline
