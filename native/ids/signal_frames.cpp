#include "ids/signal_frames.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>

#include "arch/signal_frame.hpp"

namespace ckpt::ids {

namespace {

std::optional<Interrupted> frame_at(Addr at, const tracee::Memory& memory) {
  std::array<std::byte, arch::kSignalRegistersBytes> saved{};
  const Addr saved_at = at + arch::kSignalRegistersAt;
  if (memory.read_some(saved_at, saved) != saved.size()) return std::nullopt;
  const auto registers = arch::signal_registers(saved);
  return registers ? std::optional(Interrupted{*registers, saved_at}) : std::nullopt;
}

}  // namespace

Addr Interrupted::place_of(std::string_view name) const {
  return saved_at + arch::signal_register_offset(name);
}

Addr Interrupted::place_of_pc() const { return saved_at + arch::kSignalPcOffset; }

Addr Interrupted::place_of_state_pointer() const {
  return saved_at + arch::kSignalStatePointerOffset;
}

std::vector<Interrupted> find_interrupted(const tracee::Registers& now,
                                          const tracee::Memory& memory,
                                          std::span<const std::uint64_t> restorers,
                                          std::span<const proc::PageRun> stacks) {
  constexpr std::uint64_t kMostBytes = 256U << 10U;  // of a stack that is looked through
  constexpr std::size_t kMostFrames = 64;
  std::vector<Interrupted> found;
  // A thread that is about to go back itself has taken its return address off the stack.
  const bool returns = std::any_of(restorers.begin(), restorers.end(), [&](std::uint64_t at) {
    return now.pc().value >= at && now.pc().value - at < arch::kRestorerBytes;
  });
  if (returns)
    if (const auto frame = frame_at(now.sp() - arch::kReturnAddressBytes, memory))
      found.push_back(*frame);
  // From each frame on the search goes on at the stack that was interrupted: it may be another.
  Addr from{now.sp().value & ~std::uint64_t{7}};
  for (std::size_t next = 0; found.size() < kMostFrames; ++next) {
    const auto stack = std::find_if(stacks.begin(), stacks.end(), [&](const proc::PageRun& run) {
      return run.start <= from && from < run.end;
    });
    const std::uint64_t bytes = stack == stacks.end() ? 0 : std::min(stack->end - from, kMostBytes);
    std::vector<std::uint64_t> words(bytes / sizeof(std::uint64_t));
    words.resize(memory.read_some(from, std::as_writable_bytes(std::span(words))) /
                 sizeof(std::uint64_t));
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (std::find(restorers.begin(), restorers.end(), words[i]) == restorers.end()) continue;
      const auto frame = frame_at(from + i * sizeof words[i], memory);
      const bool known = frame && std::any_of(found.begin(), found.end(), [&](const auto& one) {
                           return one.saved_at == frame->saved_at;
                         });
      if (frame && !known) found.push_back(*frame);
    }
    if (next >= found.size()) break;
    from = Addr{found[next].registers.sp().value & ~std::uint64_t{7}};
  }
  return found;
}

}  // namespace ckpt::ids
