// What a save says of huge pages that a program has asked for by name (state/files/huge_pages.hpp).
#pragma once

#include "state/descriptors/descriptors.hpp"
#include "state/memory/address_space.hpp"
#include "state/report.hpp"

namespace ckpt::state {

/// Names each object, once, that needs free huge pages at the restore to come back as it was.
void note_huge_pages(Report& report, const DescriptorTable& table, const AddressSpace& space);

}  // namespace ckpt::state
