#include <sys/ptrace.h>
#include <sys/reg.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "arch/arch.hpp"
#include "base/error.hpp"

namespace ckpt::arch {

namespace {

using Member = Word user_regs_struct::*;

constexpr std::array<std::string_view, 27> kNames = {
    "r15",    "r14", "r13", "r12",     "rbp",     "rbx", "r11",      "r10", "r9",
    "r8",     "rax", "rcx", "rdx",     "rsi",     "rdi", "orig_rax", "rip", "cs",
    "eflags", "rsp", "ss",  "fs_base", "gs_base", "ds",  "es",       "fs",  "gs"};

constexpr std::array<Member, kNames.size()> kMembers = {
    &user_regs_struct::r15,      &user_regs_struct::r14,     &user_regs_struct::r13,
    &user_regs_struct::r12,      &user_regs_struct::rbp,     &user_regs_struct::rbx,
    &user_regs_struct::r11,      &user_regs_struct::r10,     &user_regs_struct::r9,
    &user_regs_struct::r8,       &user_regs_struct::rax,     &user_regs_struct::rcx,
    &user_regs_struct::rdx,      &user_regs_struct::rsi,     &user_regs_struct::rdi,
    &user_regs_struct::orig_rax, &user_regs_struct::rip,     &user_regs_struct::cs,
    &user_regs_struct::eflags,   &user_regs_struct::rsp,     &user_regs_struct::ss,
    &user_regs_struct::fs_base,  &user_regs_struct::gs_base, &user_regs_struct::ds,
    &user_regs_struct::es,       &user_regs_struct::fs,      &user_regs_struct::gs};

// System V ABI for x86-64, figure 3.36.
struct DwarfRegister {
  std::string_view name;
  bool kept;
};
constexpr std::array<DwarfRegister, kDwarfValues> kDwarf = {{
    {"rax", false},
    {"rdx", false},
    {"rcx", false},
    {"rbx", true},
    {"rsi", false},
    {"rdi", false},
    {"rbp", true},
    {"rsp", true},
    {"r8", false},
    {"r9", false},
    {"r10", false},
    {"r11", false},
    {"r12", true},
    {"r13", true},
    {"r14", true},
    {"r15", true},
}};

}  // namespace

Registers get_registers(Tid tid) {
  Registers registers{};
  if (::ptrace(PTRACE_GETREGS, tid, nullptr, &registers) == -1)
    throw_errno(fmt::format("thread {}: ptrace(GETREGS)", tid), errno);
  return registers;
}

void set_registers(Tid tid, const Registers& registers) {
  Registers copy = registers;
  if (::ptrace(PTRACE_SETREGS, tid, nullptr, &copy) == -1)
    throw_errno(fmt::format("thread {}: ptrace(SETREGS)", tid), errno);
}

void Registers::clear() {
  const user_regs_struct before = *this;
  static_cast<user_regs_struct&>(*this) = {};
  for (const Member kept :
       {&user_regs_struct::cs, &user_regs_struct::ss, &user_regs_struct::ds, &user_regs_struct::es,
        &user_regs_struct::fs, &user_regs_struct::gs, &user_regs_struct::eflags})
    this->*kept = before.*kept;
  leave_syscall();
}

std::span<const std::string_view> register_names() { return kNames; }

Word get_register(const Registers& registers, std::size_t index) {
  return registers.*kMembers.at(index);
}

void set_register(Registers& registers, std::size_t index, Word value) {
  registers.*kMembers.at(index) = value;
}

std::optional<std::size_t> register_index(std::string_view name) {
  const auto* found = std::find(kNames.begin(), kNames.end(), name);
  return found == kNames.end() ? std::nullopt
                               : std::optional(static_cast<std::size_t>(found - kNames.begin()));
}

std::optional<Addr> segment_base(const Registers& registers, int segment) {
  switch (segment) {
    case FS: return Addr{registers.fs_base};
    case GS: return Addr{registers.gs_base};
    default: return std::nullopt;
  }
}

std::size_t dwarf_register(std::size_t number) {
  return register_index(kDwarf.at(number).name).value();
}

bool is_kept_for_caller(std::size_t number) { return kDwarf.at(number).kept; }

std::optional<std::uint32_t> last_number_loaded(std::span<const std::byte> code,
                                                bool (*is_wanted)(std::uint64_t number)) {
  constexpr std::byte kLoad{0xb8};  // mov $number, %eax
  constexpr std::size_t kLoadBytes = 5;
  if (code.size() < kLoadBytes) return std::nullopt;
  for (std::size_t at = code.size() - kLoadBytes + 1; at-- > 0;) {
    std::uint32_t number = 0;
    std::memcpy(&number, code.data() + at + 1, sizeof number);
    if (code[at] == kLoad && is_wanted(number)) return number;
  }
  return std::nullopt;
}

bool is_direct_call(std::span<const std::byte> code) {
  constexpr std::byte kCall{0xe8};
  return code.size() >= kDirectCallBytes && code[code.size() - kDirectCallBytes] == kCall;
}

}  // namespace ckpt::arch
