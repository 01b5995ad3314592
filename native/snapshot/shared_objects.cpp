#include "snapshot/shared_objects.hpp"

#include "state/terminal/terminal_input.hpp"

namespace ckpt::snapshot {

image::Json shared_objects_to_json(const SharedObjects& shared) {
  return {{"descriptions", state::descriptions_to_json(shared.descriptions)},
          {"memory", state::shared_memory_to_json(shared.memory)},
          {"sysv", state::sysv_objects_to_json(shared.sysv)},
          {"terminal_input", state::input_to_json(shared.terminal_input)}};
}

SharedObjects shared_objects_from_json(const image::Json& json) {
  SharedObjects shared;
  shared.descriptions = state::descriptions_from_json(json.at("descriptions"));
  shared.memory = state::shared_memory_from_json(json.at("memory"));
  // Absent in the snapshots of earlier versions, which named what they did not hold.
  const auto has = [&](const char* name) {
    return json.contains(name) && !json.at(name).is_null();
  };
  if (has("sysv")) shared.sysv = state::sysv_objects_from_json(json.at("sysv"));
  if (has("terminal_input"))
    shared.terminal_input = state::input_from_json(json.at("terminal_input"));
  return shared;
}

}  // namespace ckpt::snapshot
