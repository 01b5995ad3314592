// Numbers by which a thread uses io_urings without looking up their descriptors
// (IORING_REGISTER_RING_FDS). liburing passes such a number in place of the descriptor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "image/fields.hpp"
#include "proc/maps.hpp"
#include "state/context.hpp"
#include "state/descriptors/descriptors.hpp"
#include "tracee/remote.hpp"

namespace ckpt::state {

struct RingNumber {
  Tid thread = 0;  // as the program knows it
  std::uint32_t number = 0;
  std::size_t description = 0;
};

/// Whether the process has a ring, by its descriptors and mappings.
bool has_rings(const std::vector<proc::Mapping>& mappings, const std::vector<int>& descriptors);

/// Asks the thread; whose numbers they are is not known yet.
void ask_ring_numbers(tracee::Inferior& inferior, Tid tid, std::vector<RingNumber>& found);

/// Finds out which ring they are of, and drops and reports those that cannot be known.
void settle_ring_numbers(CaptureContext& context, const DescriptorTable& table,
                         std::vector<RingNumber>& numbers);

const image::Fields<RingNumber>& fields_of(const RingNumber* /*type*/);
/// Throws Error (damaged) for what is not a number of one of these descriptions.
void check_ring_numbers(const std::vector<RingNumber>& numbers,
                        const std::vector<Description>& descriptions);

/// In the thread that was `tid`, when the descriptors have their numbers.
void restore_ring_numbers(RestoreContext& inferior, Tid tid, const DescriptorTable& table,
                          const std::vector<RingNumber>& numbers);

}  // namespace ckpt::state
