// The extended state of one processor on another.
#include "state/process/xstate.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "support.hpp"

namespace ckpt::state {
namespace {

using Bytes = std::vector<std::byte>;

const arch::XstateLayout kPlain = {{2, 576, 256}};
const arch::XstateLayout kIntel = {
    {2, 576, 256}, {5, 1088, 64}, {6, 1152, 512}, {7, 1664, 1024}, {9, 2688, 8}};
const arch::XstateLayout kAmd = {
    {2, 576, 256}, {5, 832, 64}, {6, 896, 512}, {7, 1408, 1024}, {9, 2432, 8}};
const arch::XstateLayout kTilesToo = {{2, 576, 256}, {17, 2752, 64}, {18, 2816, 8192}};

/// An area in which every component is live and full of its own number.
Bytes full_area(const arch::XstateLayout& layout) {
  Bytes area(layout.back().offset + layout.back().size_bytes, std::byte{0});
  std::fill_n(area.begin(), 464, std::byte{0x11});
  std::uint64_t enabled = 3;
  for (const auto& component : layout) {
    enabled |= 1ULL << component.number;
    std::fill_n(area.begin() + static_cast<std::ptrdiff_t>(component.offset), component.size_bytes,
                static_cast<std::byte>(component.number));
  }
  std::memcpy(area.data() + 464, &enabled, sizeof enabled);
  std::memcpy(area.data() + 512, &enabled, sizeof enabled);
  return area;
}

TEST(Xstate, ComesToWhereTheOtherProcessorHasIt) {
  EXPECT_EQ(arch::convert_xstate(full_area(kIntel), kIntel, full_area(kAmd), kAmd),
            full_area(kAmd));
  EXPECT_EQ(arch::convert_xstate(full_area(kAmd), kAmd, full_area(kIntel), kIntel),
            full_area(kIntel));
  EXPECT_EQ(arch::convert_xstate(full_area(kAmd), kAmd, full_area(kAmd), kAmd), full_area(kAmd));
}

TEST(Xstate, ASmallerOneIsFilledUpWithWhatIsNotLive) {
  const Bytes area = arch::convert_xstate(full_area(kPlain), kPlain, full_area(kIntel), kIntel);
  ASSERT_EQ(area.size(), full_area(kIntel).size());
  EXPECT_EQ(arch::live_components(area), 7U);
  EXPECT_TRUE(std::equal(area.begin() + 576, area.begin() + 832, full_area(kPlain).begin() + 576));
  EXPECT_TRUE(std::all_of(area.begin() + 832, area.end(),
                          [](std::byte byte) { return byte == std::byte{0}; }));
}

TEST(Xstate, ALargerOneIsCutToWhatThereIs) {
  const Bytes area = arch::convert_xstate(full_area(kIntel), kIntel, full_area(kPlain), kPlain);
  EXPECT_EQ(area, full_area(kPlain));
}

TEST(Xstate, AnAreaThatIsTooShortForItsComponentsIsNoHarm) {
  Bytes area = full_area(kIntel);
  area.resize(600);
  const Bytes made = arch::convert_xstate(area, kIntel, full_area(kAmd), kAmd);
  EXPECT_EQ(arch::live_components(made), 3U);
  EXPECT_EQ(arch::convert_xstate(full_area(kAmd), kAmd, Bytes(520), kAmd).size(), 520U);
}

TEST(Xstate, WhatWouldBeLostIsNamed) {
  EXPECT_EQ(arch::lost_components(full_area(kIntel), kIntel, kAmd), "");
  EXPECT_EQ(arch::lost_components(full_area(kIntel), kIntel, kPlain), "AVX-512");
  EXPECT_EQ(arch::lost_components(full_area(kTilesToo), kTilesToo, kPlain), "AMX");
  EXPECT_EQ(arch::lost_components(full_area(kPlain), kPlain, {}), "AVX");
  // Protection keys do not come back anyway.
  EXPECT_EQ(arch::lost_components(full_area({{9, 576, 8}}), {{9, 576, 8}}, {}), "");
  Bytes empty = full_area(kIntel);
  std::fill(empty.begin() + 576, empty.end(), std::byte{0});
  EXPECT_EQ(arch::lost_components(empty, kIntel, kPlain), "")
      << "marked live, and as after a reset";
}

/// The state that a kernel of a processor with this layout puts on the stack, all of it live.
Bytes signal_state(const arch::XstateLayout& layout) {
  Bytes frame = full_area(layout);
  const std::uint32_t head[] = {0x46505853, static_cast<std::uint32_t>(frame.size() + 4)};
  const auto size = static_cast<std::uint32_t>(frame.size());
  std::uint64_t components = 0;
  std::memcpy(&components, frame.data() + 512, sizeof components);
  std::memcpy(frame.data() + 464, head, sizeof head);
  std::memcpy(frame.data() + 472, &components, sizeof components);
  std::memcpy(frame.data() + 480, &size, sizeof size);
  const std::uint32_t tail = 0x46505845;
  const auto bytes = std::as_bytes(std::span(&tail, 1));
  frame.insert(frame.end(), bytes.begin(), bytes.end());
  return frame;
}

TEST(Xstate, WhatAHandlerReturnsToIsLaidOutAsHere) {
  Bytes frame = signal_state(kIntel);
  frame.resize(4000);
  EXPECT_EQ(arch::convert_signal_state(frame, kIntel, kAmd), signal_state(kAmd));
  EXPECT_EQ(arch::convert_signal_state(frame, kIntel, kPlain), signal_state(kPlain));
  // There is no room for more than there was.
  const auto fewer = arch::convert_signal_state(signal_state(kAmd), kAmd, kIntel);
  ASSERT_TRUE(fewer);
  EXPECT_LE(fewer->size(), signal_state(kAmd).size());
  EXPECT_EQ(arch::components_not_in(*fewer, full_area(kAmd), kAmd), "AVX-512");
  const auto last = static_cast<int>(signal_state(kAmd).size() - 1);
  for (const auto& [at, value] :
       {std::pair(464, 1), std::pair(480, 3), std::pair(482, 0x7f), std::pair(last, 0)}) {
    Bytes bad = signal_state(kAmd);
    bad[static_cast<std::size_t>(at)] = static_cast<std::byte>(value);
    if (at == 480) bad[481] = std::byte{0};
    EXPECT_FALSE(arch::convert_signal_state(bad, kAmd, kIntel)) << at;
  }
  EXPECT_FALSE(arch::convert_signal_state(Bytes(500), kAmd, kIntel));
}

TEST(Xstate, TheLayoutIsReadBackOrIsDamage) {
  EXPECT_EQ(Xstate::read(Xstate::write(kIntel)), kIntel);
  using image::Json;
  for (const Json& bad :
       {Json{{0, 576, 8}}, Json{{63, 576, 8}}, Json{{2, 10, 8}}, Json{{2, 1U << 30U, 8}},
        Json{{2, 576, 1U << 30U}}, Json{{2, 576, 256}, {2, 900, 8}}})
    test::expect_error([&] { Xstate::read(bad); }, ErrorKind::damaged, "layout");
}

TEST(Xstate, ThisProcessorsLayoutHasRoomForEachComponent) {
  const auto& own = arch::own_xstate_layout();
  EXPECT_TRUE(own.empty() || own.front().offset == 576U) << "the first lies behind the header";
  for (const auto& component : own) {
    EXPECT_GE(component.offset, 576U);
    EXPECT_GT(component.size_bytes, 0U);
  }
  Bytes area(4096);
  EXPECT_TRUE(arch::presumed_xstate_layout(area).empty());
  std::fill_n(area.begin() + 464, 8, std::byte{0xff});
  EXPECT_EQ(arch::presumed_xstate_layout(area), own);
}

TEST(Xstate, TheLinkerReservesForAllButTiles) {
  EXPECT_GE(arch::state_save_bytes(kIntel), 2696U + 64);
  EXPECT_EQ(arch::state_save_bytes(kIntel) % 64, 0U);
  EXPECT_LT(arch::state_save_bytes(kTilesToo), 2048U);
  EXPECT_GE(arch::state_save_bytes({}), 576U);
}

Bytes code_of(std::initializer_list<unsigned> values) {
  Bytes code;
  for (const unsigned value : values) code.push_back(static_cast<std::byte>(value));
  return code;
}

TEST(StateSaves, AreFoundByWhatTheyDo) {
  const Bytes sub = code_of({0x48, 0x2b, 0x25, 0xa1, 0x0a, 0x02, 0x00});  // sub 0x20aa1(%rip), %rsp
  const Bytes load = code_of({0xb8, 0xee, 0, 0, 0, 0x31, 0xd2});          // mov $0xee, %eax ...
  const Bytes xsave = code_of({0x0f, 0xae, 0x64, 0x24, 0x40});            // xsave 0x40(%rsp)
  const Bytes xsavec = code_of({0x0f, 0xc7, 0x64, 0x24, 0x40});
  const Bytes fxsave = code_of({0x0f, 0xae, 0x44, 0x24, 0x40});
  const auto join = [](std::initializer_list<Bytes> parts) {
    Bytes whole(10, std::byte{0x90});
    for (const auto& part : parts) whole.insert(whole.end(), part.begin(), part.end());
    whole.resize(whole.size() + 20, std::byte{0x90});
    return whole;
  };
  for (const Bytes& save : {xsave, xsavec}) {
    const auto found = arch::find_state_saves(join({sub, load, save}));
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].begin, 17U);
    EXPECT_GT(found[0].end, 24U);
    EXPECT_EQ(found[0].size_at, 17 + 0x20aa1);
  }
  EXPECT_TRUE(arch::find_state_saves(join({sub, load, fxsave})).empty());
  EXPECT_TRUE(arch::find_state_saves(join({load, xsave})).empty());
  EXPECT_TRUE(arch::find_state_saves(join({sub, Bytes(400, std::byte{0x90}), xsave})).empty());
  EXPECT_TRUE(arch::find_state_saves(sub).empty());
  EXPECT_TRUE(arch::find_state_saves(code_of({0x48, 0x2b, 0x25})).empty());
  EXPECT_TRUE(arch::find_state_saves({}).empty());
  EXPECT_EQ(arch::find_state_saves(join({sub, load, xsave, sub, load, xsavec})).size(), 2U);
}

}  // namespace
}  // namespace ckpt::state
