// Extended state of another processor: first the number of components and the number, offset and
// size of each (a byte and twice four), then the area.
#include "state/process/xstate.hpp"

#include <cstdlib>
#include <cstring>

#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ckpt::state;
  return ckpt::fuzz::expect_result_or_error([&] {
    constexpr std::size_t kRowBytes = 9;
    if (size == 0 || (size - 1) / kRowBytes < data[0]) return;
    auto rows = ckpt::image::Json::array();
    for (std::size_t i = 0; i < data[0]; ++i) {
      const std::uint8_t* row = data + 1 + i * kRowBytes;
      std::uint32_t place[2];
      std::memcpy(place, row + 1, sizeof place);
      rows.push_back({row[0], place[0], place[1]});
    }
    const auto layout = Xstate::read(rows);
    const auto area = std::as_bytes(std::span(data, size)).subspan(1 + data[0] * kRowBytes);
    const ckpt::arch::XstateLayout own = {
        {2, 576, 256}, {5, 832, 64}, {6, 896, 512}, {7, 1408, 1024}};
    const std::vector<std::byte> model(2432);
    if (ckpt::arch::convert_xstate(area, layout, model, own).size() != model.size()) std::abort();
    static_cast<void>(ckpt::arch::lost_components(area, layout, own));
    static_cast<void>(ckpt::arch::area_for_debuggers(area, layout));
    static_cast<void>(ckpt::arch::state_save_bytes(layout));
    if (const auto made = ckpt::arch::convert_signal_state(area, layout, own))
      if (made->size() > area.size()) std::abort();
    for (const auto& save : ckpt::arch::find_state_saves(area))
      if (save.end > area.size()) std::abort();
  });
}
