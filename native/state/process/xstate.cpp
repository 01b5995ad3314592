#include "state/process/xstate.hpp"

#include <algorithm>

namespace ckpt::state {

image::Json xstate_layout_to_json(const arch::XstateLayout& layout) {
  auto list = image::Json::array();
  for (const auto& component : layout)
    list.push_back({component.number, component.offset, component.size_bytes});
  return list;
}

arch::XstateLayout xstate_layout_from_json(const image::Json& json) {
  arch::XstateLayout layout;
  for (const auto& item : json) {
    const arch::XstateComponent component{item.at(0), item.at(1), item.at(2)};
    const bool known = std::any_of(layout.begin(), layout.end(), [&](const auto& other) {
      return other.number == component.number;
    });
    if (known || !arch::is_possible(component)) image::damaged("the layout of the extended state");
    layout.push_back(component);
  }
  return layout;
}

}  // namespace ckpt::state
