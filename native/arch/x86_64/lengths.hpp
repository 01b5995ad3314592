// Lengths of instructions, also for code that may include nothing of a library's.
#pragma once

#include <cstddef>

namespace ckpt::arch {

inline constexpr std::size_t kSyscallBytes = 2;
/// A jump within two gigabytes, which is put over other instructions (instructions.hpp).
inline constexpr std::size_t kPatchBytes = 5;

}  // namespace ckpt::arch
