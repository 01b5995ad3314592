// Registers as GDB's remote protocol has them: their description in XML, and their bytes in its
// order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "arch/arch.hpp"

namespace ckpt::arch {

/// The description for a debugger ("Target Descriptions" in GDB's manual).
std::string target_description();

/// All registers, one behind the other. `xstate`: the extended state as ptrace has it.
std::vector<std::byte> described_registers(const Registers& registers,
                                           std::span<const std::byte> xstate);
/// Where a register is among these bytes, by its number; empty if there is none.
struct DescribedRegister {
  std::size_t offset = 0;
  std::size_t size_bytes = 0;
};
DescribedRegister described_register(std::uint64_t number);

/// Puts a value where `described_registers` has the register from, as far as a program can have set
/// it: what describes the last instruction of the x87 stays as it is. False for a register that
/// there is not, or a value of another size.
bool set_described_register(std::uint64_t number, std::span<const std::byte> value,
                            Registers& registers, std::span<std::byte> xstate);
/// How many there are.
std::uint64_t described_register_count();

/// The numbers of those that a stop reply carries along.
std::span<const std::uint8_t> expedited_registers();

}  // namespace ckpt::arch
