// What several processes of a snapshot can share. Their images refer to it by index.
#pragma once

#include <string>
#include <vector>

#include "image/format.hpp"
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

image::Json shared_objects_to_json(const SharedObjects& shared);
/// Throws Error (damaged), Json::exception.
SharedObjects shared_objects_from_json(const image::Json& json);

}  // namespace ckpt::snapshot
