#include "recording/event.hpp"

#include <tuple>

namespace ckpt::recording {

namespace {

bool same(const arch::Registers& a, const arch::Registers& b) {
  for (std::size_t i = 0; i < arch::register_names().size(); ++i)
    if (arch::get_register(a, i) != arch::get_register(b, i)) return false;
  return true;
}

}  // namespace

bool Event::operator==(const Event& other) const {
  const auto rest = [](const Event& e) {
    return std::tie(e.kind, e.thread, e.number, e.result, e.place, e.reason, e.xstate, e.writes,
                    e.new_thread, e.file, e.sites, e.cpu_ns, e.stack_digest, e.memory, e.text);
  };
  return rest(*this) == rest(other) && same(at, other.at) &&
         after.has_value() == other.after.has_value() && (!after || same(*after, *other.after));
}

}  // namespace ckpt::recording
