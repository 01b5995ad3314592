// Everything that a snapshot holds of one process: what a capture fills in, the record holds, and a
// restore brings back. What other processes may have, too, is in shared_objects.hpp.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "image/format.hpp"
#include "snapshot/shared_objects.hpp"
#include "state/descriptors/descriptors.hpp"
#include "state/descriptors/ring_numbers.hpp"
#include "state/files/kept_file.hpp"
#include "state/memory/address_space.hpp"
#include "state/process/children.hpp"
#include "state/process/process.hpp"
#include "state/process/signals.hpp"
#include "state/process/threads.hpp"
#include "state/rings/aio.hpp"
#include "state/time/clocks.hpp"
#include "state/time/timers.hpp"

namespace ckpt::snapshot {

struct ProcessImage {
  state::KeptFile program;
  std::vector<std::string> arguments;    // that it was started with
  std::vector<std::string> environment;  // likewise: it may have another by now
  state::ProcessState process;
  std::vector<state::ThreadState> threads;  // the main one first
  state::AddressSpace space;
  std::vector<state::Descriptor> descriptors;
  state::SignalState signals;
  state::TimerState timers;
  std::vector<state::EndedChild> children;
  std::vector<state::AioContext> aio;
  std::vector<state::RingNumber> ring_numbers;
  std::optional<state::ClockState> clocks;
  bool had_own_clocks = false;  // it was in a time namespace other than the saver's
};

image::Json process_image_to_json(const ProcessImage& image);
/// Throws Error (damaged), Json::exception.
ProcessImage process_image_from_json(const image::Json& json, const SharedObjects& shared);

}  // namespace ckpt::snapshot
