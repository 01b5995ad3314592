// Strong types for numbers that must not be mixed up.
#pragma once

#include <sys/types.h>

#include <compare>
#include <cstddef>
#include <cstdint>

#include <fmt/format.h>

namespace ckpt {

/// An address in the inferior. Never one of our own pointers: there is no conversion to one.
struct Addr {
  std::uint64_t value = 0;

  constexpr Addr() = default;
  constexpr explicit Addr(std::uint64_t v) : value(v) {}

  constexpr auto operator<=>(const Addr&) const = default;
  constexpr Addr operator+(std::uint64_t bytes) const { return Addr{value + bytes}; }
  constexpr Addr operator-(std::uint64_t bytes) const { return Addr{value - bytes}; }
  constexpr std::uint64_t operator-(Addr other) const { return value - other.value; }
  constexpr explicit operator bool() const { return value != 0; }
};

/// A kernel thread id, as this process sees it.
using Tid = pid_t;

inline constexpr std::uint64_t kPageSize = 4096;
inline constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;

constexpr std::uint64_t page_down(std::uint64_t n) { return n & ~(kPageSize - 1); }
constexpr std::uint64_t page_up(std::uint64_t n) { return page_down(n + kPageSize - 1); }

}  // namespace ckpt

template <>
struct fmt::formatter<ckpt::Addr> {
  constexpr auto parse(format_parse_context& ctx) { return ctx.begin(); }
  template <typename Context>
  auto format(const ckpt::Addr& a, Context& ctx) const {
    return fmt::format_to(ctx.out(), "{:#x}", a.value);
  }
};
