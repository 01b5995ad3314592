// Decoded by Zydis. See arch/memory_accesses.hpp.
#include "arch/memory_accesses.hpp"

#include <Zydis/Zydis.h>

#include <array>

namespace ckpt::arch {

namespace {

struct NamedRegister {
  ZydisRegister name;
  Word user_regs_struct::*member;
};

constexpr std::array<NamedRegister, 16> kAddressing = {{
    {ZYDIS_REGISTER_RAX, &user_regs_struct::rax},
    {ZYDIS_REGISTER_RCX, &user_regs_struct::rcx},
    {ZYDIS_REGISTER_RDX, &user_regs_struct::rdx},
    {ZYDIS_REGISTER_RBX, &user_regs_struct::rbx},
    {ZYDIS_REGISTER_RSP, &user_regs_struct::rsp},
    {ZYDIS_REGISTER_RBP, &user_regs_struct::rbp},
    {ZYDIS_REGISTER_RSI, &user_regs_struct::rsi},
    {ZYDIS_REGISTER_RDI, &user_regs_struct::rdi},
    {ZYDIS_REGISTER_R8, &user_regs_struct::r8},
    {ZYDIS_REGISTER_R9, &user_regs_struct::r9},
    {ZYDIS_REGISTER_R10, &user_regs_struct::r10},
    {ZYDIS_REGISTER_R11, &user_regs_struct::r11},
    {ZYDIS_REGISTER_R12, &user_regs_struct::r12},
    {ZYDIS_REGISTER_R13, &user_regs_struct::r13},
    {ZYDIS_REGISTER_R14, &user_regs_struct::r14},
    {ZYDIS_REGISTER_R15, &user_regs_struct::r15},
}};

Word value_of(ZydisRegister name, const Registers& registers) {
  const ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, name);
  for (const auto& known : kAddressing)
    if (known.name == whole) return registers.*known.member;
  return 0;
}

Word segment_base(ZydisRegister segment, const Registers& registers) {
  if (segment == ZYDIS_REGISTER_FS) return registers.fs_base;
  return segment == ZYDIS_REGISTER_GS ? registers.gs_base : 0;
}

bool is_vector(ZydisRegister name) {
  const auto kind = ZydisRegisterGetClass(name);
  return kind == ZYDIS_REGCLASS_XMM || kind == ZYDIS_REGCLASS_YMM || kind == ZYDIS_REGCLASS_ZMM;
}

std::optional<Addr> address_of(const ZydisDecodedInstruction& instruction,
                               const ZydisDecodedOperand& operand, const Registers& registers) {
  const auto& memory = operand.mem;
  const bool has_memory = operand.type == ZYDIS_OPERAND_TYPE_MEMORY &&
                          memory.type != ZYDIS_MEMOP_TYPE_AGEN && !is_vector(memory.index);
  if (!has_memory || operand.size == 0) return std::nullopt;
  constexpr unsigned kNarrowAddress = 32;
  constexpr Word kNarrowMask = 0xffffffff;
  const bool is_relative = memory.base == ZYDIS_REGISTER_RIP || memory.base == ZYDIS_REGISTER_EIP;
  Word at = is_relative ? registers.rip + instruction.length : value_of(memory.base, registers);
  at += value_of(memory.index, registers) * memory.scale;
  if (memory.disp.has_displacement) at += static_cast<Word>(memory.disp.value);
  // A push writes below where the stack pointer is.
  const bool is_pushed = operand.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
                         memory.base == ZYDIS_REGISTER_RSP &&
                         (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  if (is_pushed) at -= operand.size / 8U;
  if (instruction.address_width == kNarrowAddress) at &= kNarrowMask;
  return Addr{at + segment_base(memory.segment, registers)};
}

}  // namespace

std::vector<MemoryAccess> memory_accesses(std::span<const std::byte> code,
                                          const Registers& registers) {
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  ZydisDecodedInstruction instruction;
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code.data(), code.size(), &instruction,
                                           operands.data())))
    return {};
  std::vector<MemoryAccess> all;
  for (const auto& operand : std::span(operands).first(instruction.operand_count)) {
    const auto at = address_of(instruction, operand, registers);
    if (!at) continue;
    all.push_back({.at = *at,
                   .size_bytes = operand.size / 8U,
                   .reads = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0,
                   .writes = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0});
  }
  return all;
}

}  // namespace ckpt::arch
