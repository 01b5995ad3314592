// What several processes of a snapshot can share. Their images refer to it by index.
#pragma once

#include <string>
#include <vector>

#include "image/fields.hpp"
#include "state/descriptors/descriptors.hpp"
#include "state/ipc/sysv_ipc.hpp"
#include "state/memory/address_space.hpp"

namespace ckpt::snapshot {

struct SharedObjects {
  // With what they lead to: pipes, sockets, pseudoterminals.
  std::vector<state::Description> descriptions;
  std::vector<state::SharedMemory> memory;
  state::SysvObjects sysv;
  std::string terminal_input;  // typed and not read
};

const image::Fields<SharedObjects>& fields_of(const SharedObjects* /*type*/);

}  // namespace ckpt::snapshot
