// Registers as recordings compare them and set them. See arch/syscall_rules.hpp.

#include "arch/syscall_rules.hpp"

namespace ckpt::arch {

namespace {

// PTRACE_SYSEMU and PTRACE_SYSEMU_SINGLESTEP (ptrace(2)), which <sys/ptrace.h> has for x86 alone.
constexpr int kSysemu = 31;
constexpr int kSysemuSinglestep = 32;

constexpr Word kTrap = 0x100;
// What differs with the tracer and not with the program: single-stepping, and the flag with which
// a debugger resumes at a breakpoint.
constexpr Word kTracersFlags = kTrap | 0x10000;

Word seen(const Registers& registers, std::size_t index) {
  const Word value = get_register(registers, index);
  static const std::size_t flags = register_index("eflags").value();
  static const std::size_t saved_flags = register_index("r11").value();
  if (index == flags) return value & ~kTracersFlags;
  // A system call leaves the flags there.
  if (index == saved_flags && registers.in_syscall()) return value & ~kTrap;
  return value;
}

}  // namespace

bool is_native_call(const Registers& registers) {
  return registers.is_native() && registers.rcx == registers.rip;
}

int emulate_calls_request() { return kSysemu; }
int emulate_calls_step_request() { return kSysemuSinglestep; }

std::optional<std::size_t> first_difference(const Registers& expected, const Registers& found,
                                            bool at_call) {
  static const std::size_t number = register_index("orig_rax").value();
  for (std::size_t i = 0; i < register_names().size(); ++i) {
    if (i == number && !at_call) continue;
    if (seen(expected, i) != seen(found, i)) return i;
  }
  return std::nullopt;
}

void clear_traces_of_stepping(Registers& registers) {
  if (registers.in_syscall()) registers.r11 &= ~kTrap;
  registers.eflags &= ~kTracersFlags;
}

Registers after_call(const Registers& at_entry, std::int64_t result) {
  Registers after = at_entry;
  after.set_syscall_result(result);
  return after;
}

Registers before_call(const Registers& at_entry) {
  Registers before = at_entry;
  before.repeat_syscall();
  before.leave_syscall();
  return before;
}

bool shows_stepping(std::span<const std::byte> code) {
  constexpr std::byte kPushFlags{0x9c};
  constexpr std::byte kOperandSize{0x66};
  const bool prefixed = code.size() > 1 && code.front() == kOperandSize;
  return !code.empty() && code[prefixed ? 1 : 0] == kPushFlags;
}

void clear_pushed_stepping(std::span<std::byte, kPushedFlagsBytes> flags) {
  constexpr std::byte kTrapInUpperByte{kTrap >> 8U};
  flags[1] &= ~kTrapInUpperByte;
}

bool is_repeating(std::span<const std::byte> code) {
  // Prefixes, in any order: F2 and F3 repeat; 66, 67 and REX change sizes.
  bool repeats = false;
  for (const std::byte byte : code) {
    const auto value = std::to_integer<unsigned>(byte);
    if (value == 0xf2 || value == 0xf3)
      repeats = true;
    else if (value != 0x66 && value != 0x67 && (value & 0xf0U) != 0x40)
      return repeats && ((value >= 0x6c && value <= 0x6f) || (value >= 0xa4 && value <= 0xa7) ||
                         (value >= 0xaa && value <= 0xaf));
  }
  return false;
}

}  // namespace ckpt::arch
