// The extended state in the core file part of a snapshot.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <vector>

#include <gtest/gtest.h>

#include "state/process/xstate.hpp"

namespace ckpt::state {
namespace {

constexpr std::uint64_t kAvx = 0b111;
constexpr std::uint64_t kPkru = 1U << 9U;
constexpr std::uint64_t kTiles = 0b11U << 17U;

const arch::XstateLayout kLayout = {{2, 576, 256}, {18, 2816, 8192}};

// An area of the given size, each component filled with its number.
std::vector<std::byte> area_of(std::size_t size_bytes, std::uint64_t enabled, std::uint64_t live,
                               const std::map<unsigned, std::pair<std::size_t, std::size_t>>& at) {
  std::vector<std::byte> area(size_bytes);
  std::memcpy(area.data() + 464, &enabled, sizeof enabled);
  std::memcpy(area.data() + 512, &live, sizeof live);
  for (const auto& [number, place] : at)
    std::memset(area.data() + place.first, static_cast<int>(number), place.second);
  return area;
}

TEST(XstateInCore, AnAreaThatEndsEarlyIsSpreadOut) {
  // PKRU right after AVX.
  const auto area = area_of(840, kAvx | kPkru, kAvx | kPkru, {{2, {576, 256}}, {9, {832, 8}}});
  const auto made = arch::area_for_debuggers(area, {{2, 576, 256}, {9, 832, 8}});
  EXPECT_EQ(made, area_of(2696, kAvx | kPkru, kAvx | kPkru, {{2, {576, 256}}, {9, {2688, 8}}}));
}

TEST(XstateInCore, AnAreaThatIsAsExpectedStays) {
  const auto area = area_of(832, kAvx, kAvx, {{2, {576, 256}}});
  EXPECT_EQ(arch::area_for_debuggers(area, kLayout), area);
}

TEST(XstateInCore, UnusedComponentsThatHaveNoPlaceAreLeftOut) {
  const std::uint64_t enabled = kAvx | kTiles;
  const auto area = area_of(11008, enabled, kAvx, {{2, {576, 256}}});
  EXPECT_EQ(arch::area_for_debuggers(area, kLayout),
            area_of(832, enabled, kAvx, {{2, {576, 256}}}));
}

TEST(XstateInCore, LiveComponentsThatHaveNoPlaceKeepTheAreaAsItIs) {
  const std::uint64_t enabled = kAvx | kTiles;
  const auto area = area_of(11008, enabled, enabled, {{2, {576, 256}}, {18, {2816, 8192}}});
  EXPECT_EQ(arch::area_for_debuggers(area, kLayout), area);
}

TEST(XstateInCore, WhatCannotBeIsLeftAlone) {
  const std::vector<std::byte> small(100);
  EXPECT_EQ(arch::area_for_debuggers(small, kLayout), small);
  const auto cut = area_of(600, kAvx, kAvx, {});
  EXPECT_EQ(arch::area_for_debuggers(cut, kLayout), cut);
  EXPECT_EQ(arch::area_for_debuggers(cut, {}), cut);
  EXPECT_EQ(arch::area_for_debuggers(cut, {{2, 0, 256}}), cut);
}

}  // namespace
}  // namespace ckpt::state
