#include "ids/signal_frames.hpp"

#include <sys/ucontext.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>

namespace ckpt::ids {

namespace {

struct SavedRegister {
  std::string_view name;
  int place;
  unsigned long long tracee::Registers::*member;
};

constexpr std::array<SavedRegister, 17> kSaved = {{
    {"r8", REG_R8, &tracee::Registers::r8},
    {"r9", REG_R9, &tracee::Registers::r9},
    {"r10", REG_R10, &tracee::Registers::r10},
    {"r11", REG_R11, &tracee::Registers::r11},
    {"r12", REG_R12, &tracee::Registers::r12},
    {"r13", REG_R13, &tracee::Registers::r13},
    {"r14", REG_R14, &tracee::Registers::r14},
    {"r15", REG_R15, &tracee::Registers::r15},
    {"rdi", REG_RDI, &tracee::Registers::rdi},
    {"rsi", REG_RSI, &tracee::Registers::rsi},
    {"rbp", REG_RBP, &tracee::Registers::rbp},
    {"rbx", REG_RBX, &tracee::Registers::rbx},
    {"rdx", REG_RDX, &tracee::Registers::rdx},
    {"rax", REG_RAX, &tracee::Registers::rax},
    {"rcx", REG_RCX, &tracee::Registers::rcx},
    {"rsp", REG_RSP, &tracee::Registers::rsp},
    {"rip", REG_RIP, &tracee::Registers::rip},
}};

// The kernel's struct ucontext begins as glibc's does. It follows the return address.
constexpr std::size_t kRegistersAt =
    sizeof(std::uint64_t) + offsetof(ucontext_t, uc_mcontext.gregs);
constexpr std::uint64_t kUserCode = 0x33;  // cs of 64-bit programs

std::optional<Interrupted> frame_at(Addr at, const tracee::Memory& memory) {
  std::array<std::uint64_t, NGREG> saved{};
  Interrupted frame;
  frame.saved_at = at + kRegistersAt;
  const auto bytes = std::as_writable_bytes(std::span(saved));
  if (memory.read_some(frame.saved_at, bytes) != bytes.size()) return std::nullopt;
  constexpr std::uint64_t kSegment = 0xffff;
  if ((saved[REG_CSGSFS] & kSegment) != kUserCode) return std::nullopt;
  for (const auto& one : kSaved)
    frame.registers.*one.member = saved.at(static_cast<std::size_t>(one.place));
  return frame;
}

}  // namespace

Addr Interrupted::place_of(std::string_view name) const {
  const auto* found = std::find_if(kSaved.begin(), kSaved.end(),
                                   [&](const SavedRegister& one) { return one.name == name; });
  return saved_at + sizeof(std::uint64_t) * static_cast<std::size_t>(found->place);
}

std::vector<Interrupted> find_interrupted(const tracee::Registers& now,
                                          const tracee::Memory& memory,
                                          std::span<const std::uint64_t> restorers,
                                          std::span<const proc::PageRun> stacks) {
  constexpr std::uint64_t kMostBytes = 256U << 10U;  // of a stack that is looked through
  constexpr std::size_t kMostFrames = 64;
  std::vector<Interrupted> found;
  // A thread that is about to go back itself has taken its return address off the stack.
  constexpr std::uint64_t kRestorerBytes = 16;
  const bool returns = std::any_of(restorers.begin(), restorers.end(), [&](std::uint64_t at) {
    return now.rip >= at && now.rip - at < kRestorerBytes;
  });
  if (returns)
    if (const auto frame = frame_at(Addr{now.rsp - sizeof(std::uint64_t)}, memory))
      found.push_back(*frame);
  // From each frame on the search goes on at the stack that was interrupted: it may be another.
  Addr from{now.rsp & ~std::uint64_t{7}};
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
    from = Addr{found[next].registers.rsp & ~std::uint64_t{7}};
  }
  return found;
}

}  // namespace ckpt::ids
