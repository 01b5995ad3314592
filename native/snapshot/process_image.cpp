#include "snapshot/process_image.hpp"

#include <algorithm>

#include "state/rings/io_uring.hpp"

namespace ckpt::snapshot {

namespace {

using image::Json;

Json program_to_json(const ProcessImage& image) {
  Json program = state::kept_file_to_json(image.program);
  program["argv"] = image.arguments;
  program["environ"] = image.environment;
  return program;
}

Json threads_to_json(const std::vector<state::ThreadState>& threads) {
  Json list = Json::array();
  for (const auto& thread : threads) list.push_back(state::thread_to_json(thread));
  return list;
}

// What the kernel maps itself goes where memory is reserved for it, and nowhere else.
void check_reserved(const ProcessImage& image, const SharedObjects& shared) {
  const auto check = [&](Addr start, std::uint64_t size_bytes) {
    const auto& regions = image.space.regions;
    const bool reserved = std::any_of(regions.begin(), regions.end(), [&](const auto& region) {
      return region.backing == state::Backing::lost && region.mapping.start == start &&
             region.mapping.size() == size_bytes;
    });
    if (!reserved) image::damaged("the place of a ring");
  };
  for (const auto& context : image.aio) check(context.id, context.size_bytes);
  for (const auto& description : shared.descriptions)
    if (const auto* ring = description.as<state::IoUring>())
      for (const auto& map : ring->mappings) check(map.start, map.size_bytes);
}

}  // namespace

Json process_image_to_json(const ProcessImage& image) {
  return {{"program", program_to_json(image)},
          {"process", state::process_to_json(image.process)},
          {"threads", threads_to_json(image.threads)},
          {"memory", state::address_space_to_json(image.space)},
          {"descriptors", state::descriptors_to_json(image.descriptors)},
          {"signals", state::signals_to_json(image.signals)},
          {"timers", state::timers_to_json(image.timers)},
          {"children", state::children_to_json(image.children)},
          {"clocks", image.clocks ? state::clocks_to_json(*image.clocks) : Json()},
          {"own_clocks", image.had_own_clocks},
          {"aio", state::aio_to_json(image.aio)},
          {"ring_numbers", state::ring_numbers_to_json(image.ring_numbers)}};
}

ProcessImage process_image_from_json(const Json& json, const SharedObjects& shared) {
  // Absent in the snapshots of earlier versions, which named what they did not hold.
  const auto has = [&](const char* name) {
    return json.contains(name) && !json.at(name).is_null();
  };
  ProcessImage image;
  const Json& program = json.at("program");
  image.program = state::kept_file_from_json(program);
  image.arguments = program.value("argv", image.arguments);
  image.environment = program.value("environ", image.environment);
  image.process = state::process_from_json(json.at("process"));
  for (const auto& item : json.at("threads"))
    image.threads.push_back(state::thread_from_json(item));
  if (image.threads.empty()) image::damaged("the list of threads");
  image.space = state::address_space_from_json(json.at("memory"), shared.memory.size());
  image.descriptors =
      state::descriptors_from_json(json.at("descriptors"), shared.descriptions.size());
  image.signals = state::signals_from_json(json.at("signals"));
  if (has("timers")) image.timers = state::timers_from_json(json.at("timers"));
  if (has("children")) image.children = state::children_from_json(json.at("children"));
  if (has("clocks")) image.clocks = state::clocks_from_json(json.at("clocks"));
  image.had_own_clocks = json.value("own_clocks", false);
  if (has("aio")) image.aio = state::aio_from_json(json.at("aio"));
  if (has("ring_numbers"))
    image.ring_numbers =
        state::ring_numbers_from_json(json.at("ring_numbers"), shared.descriptions);
  check_reserved(image, shared);
  return image;
}

}  // namespace ckpt::snapshot
