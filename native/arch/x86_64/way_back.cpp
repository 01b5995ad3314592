#include "arch/way_back.hpp"

#include <cpuid.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "arch/x86_64/xstate_area.hpp"
#include "arch/xstate.hpp"

namespace ckpt::arch {

namespace {

constexpr std::uint64_t kFrameAlignment = 64;
// What the code that goes back looks at, below the stack pointer: see loop.cpp.
struct Words {
  siginfo_t held{};                // -176(%rsp)
  std::uint64_t group = 0;         // -48(%rsp)
  std::uint64_t thread = 0;        // -40(%rsp)
  std::uint64_t held_signal = 0;   // -32(%rsp)
  std::uint64_t behind_call = 0;   // -24(%rsp)
  std::uint64_t pending = 0;       // -16(%rsp)
  std::uint64_t interrupting = 0;  // -8(%rsp)
};
static_assert(sizeof(Words) == 176);
constexpr std::uint64_t kContextAt = 3 * kFrameAlignment;
constexpr std::uint64_t kWordsAt = kContextAt - sizeof(Words);
// The kernel's struct ucontext has a shorter signal mask at its end.
constexpr std::uint64_t kStateAt =
    (kContextAt + sizeof(ucontext_t) + kFrameAlignment - 1) & -kFrameAlignment;

// arch/x86/include/uapi/asm/ucontext.h
constexpr std::uint64_t kHasState = 1;
constexpr std::uint64_t kHasStackSegment = 2;
constexpr std::uint64_t kStrictStackSegment = 4;

// The area as the kernel takes it back: it takes none that is longer than what the thread may have
// live, which is without tiles until it has used them.
std::vector<std::byte> state_for_return(std::span<const std::byte> xstate) {
  constexpr unsigned kLeaf = 13;
  std::uint64_t enabled = 0;
  std::uint64_t live = 0;
  std::memcpy(&enabled, xstate.data() + kKernelUseAt, sizeof enabled);
  std::memcpy(&live, xstate.data() + kXstateHeaderAt, sizeof live);
  XstateOnStack use;
  std::size_t end = kLeastXstateBytes;
  for (unsigned number = 2; number < 63; ++number) {
    if ((enabled >> number & 1U) == 0) continue;
    if (number == kTiles && (live >> number & 1U) == 0) continue;
    unsigned size = 0;
    unsigned offset = 0;
    unsigned c = 0;
    unsigned d = 0;
    if (__get_cpuid_count(kLeaf, number, &size, &offset, &c, &d) == 0) continue;
    const std::size_t its_end = std::size_t{offset} + size;
    if (offset < kLeastXstateBytes || its_end > xstate.size()) continue;
    end = std::max(end, its_end);
    use.components |= 1ULL << number;
  }
  use.area_bytes = static_cast<std::uint32_t>(end);
  use.extended_bytes = use.area_bytes + sizeof kMagic2;
  std::vector<std::byte> area(use.extended_bytes);
  std::copy_n(xstate.begin(), end, area.begin());
  std::memcpy(area.data() + kKernelUseAt, &use, sizeof use);
  std::memcpy(area.data() + end, &kMagic2, sizeof kMagic2);
  return area;
}

}  // namespace

std::vector<std::byte> way_back_frame(Addr at, const GoingOn& to, std::uint64_t mask,
                                      std::span<const std::byte> xstate) {
  const Registers& from = to.registers;
  ucontext_t context{};
  context.uc_flags = kHasStackSegment | kStrictStackSegment;
  context.uc_stack.ss_flags = -1;  // of no kind: the kernel leaves the stack as it is
  auto& general = context.uc_mcontext.gregs;
  const std::array<std::pair<int, unsigned long long>, 18> values = {{
      {REG_R8, from.r8},
      {REG_R9, from.r9},
      {REG_R10, from.r10},
      {REG_R11, from.r11},
      {REG_R12, from.r12},
      {REG_R13, from.r13},
      {REG_R14, from.r14},
      {REG_R15, from.r15},
      {REG_RDI, from.rdi},
      {REG_RSI, from.rsi},
      {REG_RBP, from.rbp},
      {REG_RBX, from.rbx},
      {REG_RDX, from.rdx},
      {REG_RAX, from.rax},
      {REG_RCX, from.rcx},
      {REG_RSP, from.rsp},
      {REG_RIP, from.rip},
      {REG_EFL, from.eflags},
  }};
  for (const auto& [place, value] : values) general[place] = static_cast<greg_t>(value);
  general[REG_CSGSFS] = static_cast<greg_t>(from.cs | from.ss << 48U);
  std::memcpy(&context.uc_sigmask, &mask, sizeof mask);
  std::vector<std::byte> area;
  if (xstate.size() >= kLeastXstateBytes) {
    area = state_for_return(xstate);
    context.uc_flags |= kHasState;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): an address of the other process
    context.uc_mcontext.fpregs = reinterpret_cast<fpregset_t>(at.value + kStateAt);
  }
  Words words;
  words.behind_call = to.behind_call.value;
  words.interrupting = to.interrupting;
  if (to.held) {
    words.held = *to.held;
    words.held_signal = static_cast<std::uint64_t>(to.held->si_signo);
    words.group = static_cast<std::uint64_t>(to.group);
    words.thread = static_cast<std::uint64_t>(to.thread);
  }
  std::vector<std::byte> frame(kStateAt + area.size());
  std::memcpy(frame.data() + kWordsAt, &words, sizeof words);
  std::memcpy(frame.data() + kContextAt, &context, sizeof context);
  std::copy(area.begin(), area.end(), frame.begin() + kStateAt);
  return frame;
}

Addr way_back_stack(Addr frame) { return frame + kContextAt; }

std::uint64_t way_back_bytes(std::size_t xstate_bytes) {
  return (kStateAt + xstate_bytes + sizeof kMagic2 + kFrameAlignment - 1) & -kFrameAlignment;
}

}  // namespace ckpt::arch
