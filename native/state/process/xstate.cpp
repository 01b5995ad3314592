#include "state/process/xstate.hpp"

#include <algorithm>

namespace ckpt::state {

namespace {

using Component = arch::XstateComponent;
using Components = image::List<Component, image::Row<Component, &Component::number,
                                                     &Component::offset, &Component::size_bytes>>;

}  // namespace

image::Json Xstate::write(const arch::XstateLayout& layout) { return Components::write(layout); }

arch::XstateLayout Xstate::read(const image::Json& json) {
  arch::XstateLayout layout;
  for (const Component& component : Components::read(json)) {
    const bool known = std::any_of(layout.begin(), layout.end(), [&](const auto& other) {
      return other.number == component.number;
    });
    if (known || !arch::is_possible(component)) image::damaged("the layout of the extended state");
    layout.push_back(component);
  }
  return layout;
}

image::Json Xstate::type(image::Catalog& catalog) { return Components::type(catalog); }

}  // namespace ckpt::state
