#include "tracee/xstate_layout.hpp"

#include <cpuid.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace ckpt::tracee {

namespace {

// x87, SSE and the header, which are in the same place everywhere (Intel SDM 1, 13.4).
constexpr std::size_t kCommonBytes = 576;
constexpr std::size_t kXcr0Offset = 464;  // the kernel's use of the software-reserved bytes
constexpr std::size_t kXstateBvOffset = 512;
constexpr std::uint64_t kCommonComponents = 0b11;

struct Component {
  unsigned number;
  std::size_t offset;
  std::size_t size_bytes;
};

// As in GDB's gdbsupport/x86-xstate.h and in i387-tdep.c (i387_fallback_xsave_layout): AVX, MPX,
// AVX-512 and PKRU.
constexpr std::array<Component, 7> kExpected = {{{2, 576, 256},
                                                 {3, 960, 64},
                                                 {4, 1024, 64},
                                                 {5, 1088, 64},
                                                 {6, 1152, 512},
                                                 {7, 1664, 1024},
                                                 {9, 2688, 8}}};

std::uint64_t word_at(std::span<const std::byte> area, std::size_t offset) {
  std::uint64_t word = 0;
  std::memcpy(&word, area.data() + offset, sizeof word);
  return word;
}

}  // namespace

std::size_t component_offset(unsigned component) {
  unsigned size = 0;
  unsigned offset = 0;
  unsigned flags = 0;
  unsigned unused = 0;
  __get_cpuid_count(0xd, component, &size, &offset, &flags, &unused);
  return offset;
}

std::vector<std::byte> area_for_debuggers(
    std::span<const std::byte> area,
    const std::function<std::size_t(unsigned component)>& offset_of) {
  std::vector<std::byte> as_it_is(area.begin(), area.end());
  if (area.size() < kCommonBytes) return as_it_is;
  const std::uint64_t enabled = word_at(area, kXcr0Offset);
  std::uint64_t placed = kCommonComponents;
  std::vector<std::byte> made(area.begin(), area.begin() + kCommonBytes);
  for (const auto& [number, offset, size_bytes] : kExpected) {
    if ((enabled >> number & 1U) == 0) continue;
    const std::size_t from = offset_of(number);
    if (from < kCommonBytes || from + size_bytes > area.size()) return as_it_is;
    made.resize(std::max(made.size(), offset + size_bytes));
    std::copy_n(area.begin() + static_cast<std::ptrdiff_t>(from), size_bytes,
                made.begin() + static_cast<std::ptrdiff_t>(offset));
    placed |= 1ULL << number;
  }
  return (word_at(area, kXstateBvOffset) & ~placed) == 0 ? made : as_it_is;
}

}  // namespace ckpt::tracee
