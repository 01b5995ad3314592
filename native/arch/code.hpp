// Short functions and jumps, made as bytes, to be written into a program.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "arch/arch.hpp"
#include "base/types.hpp"

namespace ckpt::arch {

/// Returns -ENOSYS.
std::vector<std::byte> function_of_nothing();
/// Makes the system call of that number, with its own arguments, and returns the kernel's answer.
std::vector<std::byte> function_of_syscall(std::uint32_t number);
/// The vdso's getrandom: makes the system call of that name; returns -ENOSYS if the last of five
/// arguments is -1.
std::vector<std::byte> function_of_getrandom();

/// Jumps to any address, changing only a register that is free where functions begin.
std::array<std::byte, kFarJumpBytes> far_jump(Addr target);

}  // namespace ckpt::arch
