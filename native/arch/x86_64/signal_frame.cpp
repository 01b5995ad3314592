#include "arch/signal_frame.hpp"

#include <sys/ucontext.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace ckpt::arch {

namespace {

struct SavedRegister {
  std::string_view name;
  int place;
  Word user_regs_struct::*member;
};

constexpr std::array<SavedRegister, 17> kSaved = {{
    {"r8", REG_R8, &user_regs_struct::r8},
    {"r9", REG_R9, &user_regs_struct::r9},
    {"r10", REG_R10, &user_regs_struct::r10},
    {"r11", REG_R11, &user_regs_struct::r11},
    {"r12", REG_R12, &user_regs_struct::r12},
    {"r13", REG_R13, &user_regs_struct::r13},
    {"r14", REG_R14, &user_regs_struct::r14},
    {"r15", REG_R15, &user_regs_struct::r15},
    {"rdi", REG_RDI, &user_regs_struct::rdi},
    {"rsi", REG_RSI, &user_regs_struct::rsi},
    {"rbp", REG_RBP, &user_regs_struct::rbp},
    {"rbx", REG_RBX, &user_regs_struct::rbx},
    {"rdx", REG_RDX, &user_regs_struct::rdx},
    {"rax", REG_RAX, &user_regs_struct::rax},
    {"rcx", REG_RCX, &user_regs_struct::rcx},
    {"rsp", REG_RSP, &user_regs_struct::rsp},
    {"rip", REG_RIP, &user_regs_struct::rip},
}};

}  // namespace

std::optional<Registers> signal_registers(std::span<const std::byte> bytes) {
  std::array<std::uint64_t, NGREG> saved{};
  if (bytes.size() < sizeof saved) return std::nullopt;
  std::memcpy(saved.data(), bytes.data(), sizeof saved);
  constexpr std::uint64_t kSegment = 0xffff;
  if ((saved[REG_CSGSFS] & kSegment) != kNativeCodeSegment) return std::nullopt;
  Registers registers{};
  for (const auto& one : kSaved)
    registers.*one.member = saved.at(static_cast<std::size_t>(one.place));
  return registers;
}

std::size_t signal_register_offset(std::string_view name) {
  const auto* found = std::find_if(kSaved.begin(), kSaved.end(),
                                   [&](const SavedRegister& one) { return one.name == name; });
  return sizeof(std::uint64_t) * static_cast<std::size_t>(found->place);
}

}  // namespace ckpt::arch
