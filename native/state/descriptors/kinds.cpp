#include "state/descriptors/kinds.hpp"

#include <algorithm>
#include <array>

namespace ckpt::state {

namespace {

constexpr std::array kKinds = {
    &kinds::kFile,      &kinds::kPath,     &kinds::kRemovedDirectory, &kinds::kRemovedEntry,
    &kinds::kOwnProc,   &kinds::kTerminal, &kinds::kStream,           &kinds::kPipe,
    &kinds::kEventfd,   &kinds::kTimerfd,  &kinds::kSignalfd,         &kinds::kPidfd,
    &kinds::kEpoll,     &kinds::kInotify,  &kinds::kFanotify,         &kinds::kSocket,
    &kinds::kPtyMaster, &kinds::kPtySlave, &kinds::kMessageQueue,     &kinds::kIoUring,
    &kinds::kLost,
};

}  // namespace

std::span<const DescriptorKind* const> all_kinds() { return kKinds; }

const DescriptorKind* find_kind(std::string_view name) {
  const auto* found = std::find_if(kKinds.begin(), kKinds.end(),
                                   [&](const DescriptorKind* kind) { return kind->name == name; });
  return found == kKinds.end() ? nullptr : *found;
}

const DescriptorKind* find_anonymous_kind(std::string_view name) {
  if (name.empty()) return nullptr;
  const auto* found = std::find_if(kKinds.begin(), kKinds.end(), [&](const DescriptorKind* kind) {
    return kind->anonymous == name;
  });
  return found == kKinds.end() ? nullptr : *found;
}

std::optional<int> number_of(const DescriptorTable& table, std::size_t description) {
  for (const Descriptor& descriptor : table.descriptors)
    if (descriptor.description == description) return descriptor.fd;
  return std::nullopt;
}

int number_until_linked(const DescriptorTable& table, const std::vector<int>& made,
                        std::size_t description) {
  const auto number = number_of(table, description);
  return number ? *number : made.at(description);
}

}  // namespace ckpt::state
