#include <elf.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "arch/arch.hpp"
#include "base/error.hpp"

namespace ckpt::arch {

namespace {

constexpr std::array<std::string_view, 37> kNames = {
    "x0",  "x1",  "x2",  "x3",     "x4",   "x5",        "x6",       "x7",  "x8",  "x9",
    "x10", "x11", "x12", "x13",    "x14",  "x15",       "x16",      "x17", "x18", "x19",
    "x20", "x21", "x22", "x23",    "x24",  "x25",       "x26",      "x27", "x28", "x29",
    "x30", "sp",  "pc",  "pstate", "call", "argument0", "tpidr_el0"};
constexpr std::size_t kNumbered = 31;

// The register itself; `numbered` among regs, then in the order of kNames.
template <typename Some>
auto& register_in(Some& registers, std::size_t index) {
  if (index < kNumbered) return registers.regs[index];
  switch (index - kNumbered) {
    case 0: return registers.user_regs_struct::sp;
    case 1: return registers.user_regs_struct::pc;
    case 2: return registers.pstate;
    case 3: return registers.call;
    case 4: return registers.argument0;
    default: return registers.thread_id;
  }
}

void request(const char* name, int number, Tid tid, unsigned note, void* data, std::size_t size) {
  iovec vector{data, size};
  if (::ptrace(static_cast<__ptrace_request>(number), tid, note, &vector) == -1)
    throw_errno(fmt::format("thread {}: ptrace({}, {:#x})", tid, name, note), errno);
}

}  // namespace

Registers get_registers(Tid tid) {
  Registers registers{};
  int call = -1;
  request("GETREGSET", PTRACE_GETREGSET, tid, NT_PRSTATUS, &registers, sizeof(user_regs_struct));
  request("GETREGSET", PTRACE_GETREGSET, tid, NT_ARM_SYSTEM_CALL, &call, sizeof call);
  request("GETREGSET", PTRACE_GETREGSET, tid, NT_ARM_TLS, &registers.thread_id,
          sizeof registers.thread_id);
  registers.call = static_cast<Word>(call);
  registers.argument0 = registers.regs[0];
  return registers;
}

void set_registers(Tid tid, const Registers& registers) {
  Registers copy = registers;
  int call = static_cast<int>(registers.call);
  request("SETREGSET", PTRACE_SETREGSET, tid, NT_PRSTATUS, &copy, sizeof(user_regs_struct));
  request("SETREGSET", PTRACE_SETREGSET, tid, NT_ARM_SYSTEM_CALL, &call, sizeof call);
  request("SETREGSET", PTRACE_SETREGSET, tid, NT_ARM_TLS, &copy.thread_id, sizeof copy.thread_id);
}

std::span<const std::string_view> register_names() { return kNames; }

Word get_register(const Registers& registers, std::size_t index) {
  return register_in(registers, index);
}

void set_register(Registers& registers, std::size_t index, Word value) {
  register_in(registers, index) = value;
}

std::optional<std::size_t> register_index(std::string_view name) {
  const auto* found = std::find(kNames.begin(), kNames.end(), name);
  return found == kNames.end() ? std::nullopt
                               : std::optional(static_cast<std::size_t>(found - kNames.begin()));
}

std::optional<Addr> segment_base(const Registers& /*registers*/, int /*segment*/) {
  return std::nullopt;
}

std::size_t dwarf_register(std::size_t number) { return number; }

// AAPCS64: x19 to x29, and sp.
bool is_kept_for_caller(std::size_t number) {
  constexpr std::size_t kFirst = 19;
  constexpr std::size_t kLast = 29;
  return (number >= kFirst && number <= kLast) || number == kDwarfStackPointer;
}

}  // namespace ckpt::arch
