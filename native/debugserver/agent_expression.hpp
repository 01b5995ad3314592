// Agent expressions: the byte code in which GDB hands conditions over ("The GDB Agent Expression
// Mechanism" in its manual).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/types.hpp"

namespace ckpt::debugserver {

/// What an expression may ask for; nothing where it cannot be had.
struct ExpressionSource {
  std::function<bool(Addr at, std::span<std::byte> into)> memory;
  std::function<std::optional<std::uint64_t>(std::uint64_t number)> register_value;
};

/// The value of the expression; nothing where it cannot be evaluated: what it asks for is not
/// there, it is not well-formed, or it takes too long.
std::optional<std::uint64_t> evaluate(std::span<const std::byte> code,
                                      const ExpressionSource& source);

}  // namespace ckpt::debugserver
