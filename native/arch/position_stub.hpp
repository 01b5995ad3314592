// Code that lets a program run at speed until it comes to one place with given registers.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "arch/arch.hpp"
#include "arch/instructions.hpp"
#include "base/types.hpp"

namespace ckpt::arch {

/// A jump at the place leads to the stub, which compares the general registers and has a breakpoint
/// where all are as expected. Else the instructions under the jump follow, and the program goes on.
struct PositionStub {
  std::vector<std::byte> bytes;
  std::array<std::byte, kPatchBytes> jump{};
  Addr behind_hit;                     // the program counter at the breakpoint
  std::vector<MovedRun::Place> moved;  // instructions, by their offsets there and in the stub
};

/// How many bytes at the begin of `code` make room for the jump; nothing if they cannot be moved.
std::optional<std::size_t> room_for_stub(std::span<const std::byte> code);

/// `code`: the instructions at `from`. `at`: writable and executable memory near it. Nothing if the
/// instructions cannot be moved there.
std::optional<PositionStub> position_stub(std::span<const std::byte> code, Addr from, Addr at,
                                          const Registers& expected);

/// The same for a place by its passes: the breakpoint comes at pass `passes`. How many of them are
/// left stands behind what the stub has kept, in eight bytes.
std::optional<PositionStub> counting_stub(std::span<const std::byte> code, Addr from, Addr at,
                                          std::uint64_t passes);

/// The registers that a thread at the breakpoint had at `from`, of which the stub has kept some in
/// its first kStubKeptBytes.
inline constexpr std::size_t kStubKeptBytes = 16;
Registers registers_at_position(const Registers& at_hit,
                                std::span<const std::byte, kStubKeptBytes> kept, Addr from);

}  // namespace ckpt::arch
