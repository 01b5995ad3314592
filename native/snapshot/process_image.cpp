#include "snapshot/process_image.hpp"

#include <algorithm>

#include "state/rings/io_uring.hpp"

namespace ckpt::snapshot {

namespace {

using image::Json;

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

const image::Fields<Program>& fields_of(const Program* /*type*/) {
  using enum image::Presence;
  using Field = image::Field<Program>;
  static const image::Fields<Program> fields = {
      "program",
      {Field::all_of(image::Base<state::KeptFile>()),
       {"argv", &Program::arguments, "/proc/PID/cmdline at the save", later},
       {"environ", &Program::environment, "/proc/PID/environ at the save", later}}};
  return fields;
}

const image::Fields<ProcessImage>& fields_of(const ProcessImage* /*type*/) {
  using enum image::Presence;
  using P = ProcessImage;
  static const image::Fields<P> fields = {
      "image",
      {{"program", &P::program, "the executable"},
       {"process", &P::process, ""},
       {"threads", &P::threads, "the main thread first, then in the debugger's order"},
       {"memory", &P::space, ""},
       {"descriptors", &P::descriptors, "in ascending order of `fd`"},
       {"signals", &P::signals, ""},
       {"timers", &P::timers, "", later},
       {"children", &P::children,
        "those that a wait would find after a restore: they had ended, or come back as killed",
        later},
       {"clocks", &P::clocks, "null: they are not known", later},
       {"own_clocks", &P::had_own_clocks,
        "whether the process was in a time namespace other than the saver's", later},
       {"ring_numbers", &P::ring_numbers, "numbers of IORING_REGISTER_RING_FDS", later},
       {"aio", &P::aio, "contexts of io_setup(2). Their memory is `lost` in [memory](#memory)",
        later}},
      [](P& image) {
        if (image.threads.empty()) image::damaged("the list of threads");
      }};
  return fields;
}

void check_references(const ProcessImage& image, const SharedObjects& shared) {
  for (const auto& region : image.space.regions)
    if (region.shared && *region.shared >= shared.memory.size())
      image::damaged("which memory a mapping shares");
  state::check_descriptor_numbers(image.descriptors, shared.descriptions.size());
  state::check_ring_numbers(image.ring_numbers, shared.descriptions);
  check_reserved(image, shared);
}

}  // namespace ckpt::snapshot
