// Everything that a snapshot holds of one process: what a capture fills in, the record holds, and a
// restore brings back. What other processes may have, too, is in shared_objects.hpp.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "image/fields.hpp"
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

struct Program : state::KeptFile {
  std::vector<std::string> arguments;    // that it was started with
  std::vector<std::string> environment;  // likewise: it may have another by now
};

struct ProcessImage {
  Program program;
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

const image::Fields<Program>& fields_of(const Program* /*type*/);
const image::Fields<ProcessImage>& fields_of(const ProcessImage* /*type*/);

/// Throws Error (damaged) for what refers to shared objects that are not there.
void check_references(const ProcessImage& image, const SharedObjects& shared);

}  // namespace ckpt::snapshot
