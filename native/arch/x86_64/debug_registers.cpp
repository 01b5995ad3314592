#include "arch/debug_registers.hpp"

#include <sys/ptrace.h>
#include <sys/user.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "base/error.hpp"

asm(R"(
  .text
  .globl ckpt_probe_code
  .hidden ckpt_probe_code
  .type ckpt_probe_code, @function
ckpt_probe_code:
  nop
  ret
  .size ckpt_probe_code, . - ckpt_probe_code
)");

namespace ckpt::arch {

namespace {

void poke_debug_register(Tid tid, std::size_t number, std::uint64_t value) {
  const std::size_t offset = offsetof(user, u_debugreg) + number * sizeof value;
  if (::ptrace(PTRACE_POKEUSER, tid, offset, value) != 0)
    throw_errno(fmt::format("thread {}: ptrace(POKEUSER, debug register {})", tid, number), errno);
}

}  // namespace

void set_debug_registers(Tid tid, Addr data, Addr code) {
  // Intel SDM 3B, 18.2.4: L0 and L1; register 0 breaks on writes to eight bytes, 1 on execution.
  constexpr std::uint64_t kControl = 0b101U | (0b1001U << 16U);
  poke_debug_register(tid, 0, data.value);
  poke_debug_register(tid, 1, code.value);
  poke_debug_register(tid, 7, kControl);
}

}  // namespace ckpt::arch
