#include "recording/history.hpp"

#include <algorithm>
#include <limits>

#include "arch/syscall_rules.hpp"
#include "base/error.hpp"

namespace ckpt::recording {

namespace {

constexpr std::size_t kMostHeldChunks = 16;

bool names_own_id(const Event& event) {
  const auto* rule = arch::syscall_rule(static_cast<arch::Word>(event.number));
  return event.kind == EventKind::call && rule != nullptr &&
         rule->special == arch::Special::set_tid_address;
}

}  // namespace

History::History(const std::string& path) : reader_(path) { scan(); }

void History::scan() {
  for (;;) {
    const auto chunk = reader_.chunk_ahead();
    const auto event = reader_.next();
    if (!event) break;
    if (chunk) chunks_.emplace(events_, *chunk);
    note_thread_id(*event);
    marks_.note(events_, *event);
    ++events_;
  }
  add_thread_id(0, 1);
}

void History::note_thread_id(const Event& event) {
  if (event.new_thread)
    add_thread_id(*event.new_thread, event.result);
  else if (event.thread == 0 && names_own_id(event))
    add_thread_id(0, event.result);
}

void History::add_thread_id(std::uint32_t thread, std::int64_t tid) {
  const auto is_taken = [&](std::int64_t id) {
    return std::any_of(thread_ids_.begin(), thread_ids_.end(),
                       [&](const auto& known) { return known.second == id; });
  };
  if (thread_ids_.contains(thread)) return;
  // Ids that the kernel has given twice, or that are none, are replaced by what it never gives.
  constexpr std::int64_t kMost = std::numeric_limits<Tid>::max() / 2;
  if (tid <= 0 || tid > kMost) tid = kMost;
  while (is_taken(tid)) tid = tid < kMost ? kMost : tid + 1;
  thread_ids_.emplace(thread, static_cast<Tid>(tid));
}

std::shared_ptr<const Event> History::event(std::uint64_t index) {
  if (index >= events_) fail(ErrorKind::damaged, "there is no event {}", index);
  const auto chunk = std::prev(chunks_.upper_bound(index));
  const Held& held = chunk_at(chunk->first);
  if (index - held.first >= held.events.size()) fail(ErrorKind::damaged, "it has changed");
  return held.events[index - held.first];
}

const History::Held& History::chunk_at(std::uint64_t first) {
  const auto found = std::find_if(held_.begin(), held_.end(),
                                  [&](const Held& held) { return held.first == first; });
  if (found != held_.end()) {
    held_.splice(held_.begin(), held_, found);
    return held_.front();
  }
  const auto next = chunks_.upper_bound(first);
  const std::uint64_t end = next == chunks_.end() ? events_ : next->first;
  Held held{first, {}};
  reader_.go_to_chunk(chunks_.at(first));
  for (std::uint64_t index = first; index < end; ++index) {
    auto event = reader_.next();
    if (!event) fail(ErrorKind::damaged, "it has become shorter");
    held.events.push_back(std::make_shared<const Event>(std::move(*event)));
  }
  held_.push_front(std::move(held));
  if (held_.size() > kMostHeldChunks) held_.pop_back();
  return held_.front();
}

}  // namespace ckpt::recording
