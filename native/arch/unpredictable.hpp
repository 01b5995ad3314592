// Instructions whose result is not a function of the program's state: clocks, random numbers, the
// number of the processor and its description.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "arch/arch.hpp"
#include "base/types.hpp"

namespace ckpt::arch {

enum class Unpredictable : std::uint8_t {
  clock,                // rdtsc
  clock_and_processor,  // rdtscp
  processor,            // rdpid
  random,               // rdrand
  seed,                 // rdseed
  description           // cpuid
};
inline constexpr std::uint8_t kUnpredictableKinds = 6;
std::string_view unpredictable_name(Unpredictable kind);

/// Such an instruction in a program.
struct UnpredictableSite {
  Addr at;
  Unpredictable kind = Unpredictable::clock;
  std::uint8_t length = 0;
  std::uint8_t target = 0;        // the register that it sets, by register_names()
  std::uint8_t target_bytes = 0;  // how much of it
  std::byte original{};           // its first byte
  bool operator==(const UnpredictableSite&) const = default;
};

/// A function that is known to begin there, and to end there.
struct FunctionRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// Whether the bytes of one are there, whatever they are part of.
bool may_have_unpredictable(std::span<const std::byte> code);

/// All of them in `code`, which lies at `at`. The bytes of such an instruction count only at the
/// begin of an instruction, for which `function_of` tells the function that an address is in;
/// nothing: the address is in no function. Without `function_of` (a file that does not tell) `code`
/// is decoded from its begin.
std::vector<UnpredictableSite> find_unpredictable(
    std::span<const std::byte> code, Addr at,
    const std::function<std::optional<FunctionRange>(Addr)>& function_of);

/// Does what the instruction would do, with values of this moment, and goes on behind it.
/// `registers`: at the instruction.
void execute_unpredictable(const UnpredictableSite& site, Registers& registers);

}  // namespace ckpt::arch
