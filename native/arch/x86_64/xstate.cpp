#include "arch/xstate.hpp"

#include <cpuid.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "arch/x86_64/xstate_area.hpp"

namespace ckpt::arch {

namespace {

constexpr unsigned kBounds = 3;
constexpr unsigned kBoundsConfiguration = 4;
constexpr unsigned kProtectionKeys = 9;
constexpr unsigned kTileConfiguration = 17;
constexpr std::uint64_t kMostStateBytes = 1U << 20U;

std::string_view component_name(unsigned number) {
  switch (number) {
    case 2: return "AVX";
    case 5:
    case 6:
    case 7: return "AVX-512";
    case kTileConfiguration:
    case kTiles: return "AMX";
    case 19: return "APX";
    default: return "unknown";
  }
}

// Memory comes back without protection keys; and Linux has given MPX up (5.6).
bool is_of_no_use(unsigned number) {
  return number == kProtectionKeys || number == kBounds || number == kBoundsConfiguration;
}

std::uint64_t word_at(std::span<const std::byte> bytes, std::size_t offset) {
  std::uint64_t word = 0;
  if (bytes.size() >= offset + sizeof word) std::memcpy(&word, bytes.data() + offset, sizeof word);
  return word;
}

const XstateComponent* find(const XstateLayout& layout, unsigned number) {
  for (const auto& component : layout)
    if (component.number == number) return &component;
  return nullptr;
}

// Its bytes in an area; empty if the area is too short for them.
std::span<const std::byte> content(std::span<const std::byte> area,
                                   const XstateComponent& component) {
  if (component.offset > area.size() || component.size_bytes > area.size() - component.offset)
    return {};
  return area.subspan(component.offset, component.size_bytes);
}

bool is_live(std::span<const std::byte> area, const XstateComponent& component) {
  return (live_components(area) >> component.number & 1U) != 0;
}

XstateLayout ask_processor() {
  constexpr unsigned kLeaf = 13;
  constexpr unsigned kOsXsave = 1U << 27U;
  XstateLayout layout;
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & kOsXsave) == 0) return layout;
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  const std::uint64_t enabled = low | std::uint64_t{high} << 32U;
  for (unsigned number = 2; number < 63; ++number)
    if ((enabled >> number & 1U) != 0 && __get_cpuid_count(kLeaf, number, &a, &b, &c, &d) != 0)
      layout.push_back({number, b, a});
  return layout;
}

}  // namespace

const XstateLayout& own_xstate_layout() {
  static const XstateLayout layout = ask_processor();  // a hypervisor takes its time over CPUID
  return layout;
}

XstateLayout presumed_xstate_layout(std::span<const std::byte> xstate) {
  XstateLayout layout = own_xstate_layout();
  const std::uint64_t enabled = word_at(xstate, kKernelUseAt);
  std::erase_if(layout, [&](const XstateComponent& component) {
    return (enabled >> component.number & 1U) == 0;
  });
  return layout;
}

bool is_possible(const XstateComponent& component) {
  return component.number >= 2 && component.number <= 62 &&
         component.offset >= kXstateHeaderAt + kXstateHeaderBytes &&
         component.offset <= kMostStateBytes && component.size_bytes <= kMostStateBytes;
}

std::uint64_t live_components(std::span<const std::byte> xstate) {
  return word_at(xstate, kXstateHeaderAt);
}

std::string components_not_in(std::span<const std::byte> made, std::span<const std::byte> before,
                              const XstateLayout& layout) {
  std::string names;
  for (const auto& component : layout) {
    if (is_of_no_use(component.number) || is_live(made, component) || !is_live(before, component))
      continue;
    // Marked live, though all of it is as after a reset.
    const auto bytes = content(before, component);
    if (std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; }))
      continue;
    const std::string name(component_name(component.number));
    if (names.find(name) == std::string::npos) names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

std::string lost_components(std::span<const std::byte> xstate, const XstateLayout& saved,
                            const XstateLayout& own) {
  std::uint64_t end = kXstateHeaderAt + kXstateHeaderBytes;
  for (const auto& component : own) end = std::max(end, component.offset + component.size_bytes);
  return components_not_in(convert_xstate(xstate, saved, std::vector<std::byte>(end), own), xstate,
                           saved);
}

std::vector<std::byte> convert_xstate(std::span<const std::byte> saved,
                                      const XstateLayout& saved_layout,
                                      std::span<const std::byte> model, const XstateLayout& own) {
  std::vector<std::byte> area(model.size());
  const auto legacy = std::min({saved.size(), area.size(), kKernelUseAt});
  std::copy_n(saved.begin(), legacy, area.begin());
  if (area.size() < kXstateHeaderAt + kXstateHeaderBytes) return area;
  const std::span<std::byte> whole(area);
  const auto own_use = model.subspan(kKernelUseAt, kXstateHeaderAt - kKernelUseAt);
  std::copy(own_use.begin(), own_use.end(), whole.begin() + kKernelUseAt);
  std::uint64_t live = live_components(saved) & kLegacyComponents;
  for (const auto& component : saved_layout) {
    const auto* place = find(own, component.number);
    const auto bytes = content(saved, component);
    if (place == nullptr || !is_live(saved, component) || bytes.empty() ||
        bytes.size() > place->size_bytes || place->offset > area.size() ||
        bytes.size() > area.size() - place->offset)
      continue;
    std::copy(bytes.begin(), bytes.end(),
              whole.begin() + static_cast<std::ptrdiff_t>(place->offset));
    live |= 1ULL << component.number;
  }
  std::memcpy(area.data() + kXstateHeaderAt, &live, sizeof live);
  return area;
}

std::vector<std::byte> area_for_debuggers(std::span<const std::byte> area,
                                          const XstateLayout& layout) {
  // As in GDB's gdbsupport/x86-xstate.h and in i387-tdep.c (i387_fallback_xsave_layout): AVX, MPX,
  // AVX-512 and PKRU.
  constexpr std::array<XstateComponent, 7> kExpected = {{{2, 576, 256},
                                                         {kBounds, 960, 64},
                                                         {kBoundsConfiguration, 1024, 64},
                                                         {5, 1088, 64},
                                                         {6, 1152, 512},
                                                         {7, 1664, 1024},
                                                         {kProtectionKeys, 2688, 8}}};
  constexpr std::size_t kCommonBytes = kXstateHeaderAt + kXstateHeaderBytes;
  std::vector<std::byte> as_it_is(area.begin(), area.end());
  if (area.size() < kCommonBytes) return as_it_is;
  const std::uint64_t enabled = word_at(area, kKernelUseAt);
  std::uint64_t placed = kLegacyComponents;
  std::vector<std::byte> made(area.begin(), area.begin() + kCommonBytes);
  for (const auto& expected : kExpected) {
    if ((enabled >> expected.number & 1U) == 0) continue;
    const auto* own = find(layout, expected.number);
    if (own == nullptr || own->offset < kCommonBytes) return as_it_is;
    const auto bytes = content(area, {own->number, own->offset, expected.size_bytes});
    if (bytes.empty()) return as_it_is;
    made.resize(std::max(made.size(), expected.offset + expected.size_bytes));
    std::copy(bytes.begin(), bytes.end(),
              made.begin() + static_cast<std::ptrdiff_t>(expected.offset));
    placed |= 1ULL << expected.number;
  }
  return (live_components(area) & ~placed) == 0 ? made : as_it_is;
}

std::optional<std::vector<std::byte>> convert_signal_state(std::span<const std::byte> frame,
                                                           const XstateLayout& saved,
                                                           const XstateLayout& own) {
  XstateOnStack use;
  if (frame.size() < kXstateHeaderAt + kXstateHeaderBytes) return std::nullopt;
  std::memcpy(&use, frame.data() + kKernelUseAt, sizeof use);
  if (use.magic1 != kMagic1 || use.area_bytes < kXstateHeaderAt + kXstateHeaderBytes ||
      use.area_bytes > frame.size() - sizeof kMagic2)
    return std::nullopt;
  std::uint32_t last = 0;
  std::memcpy(&last, frame.data() + use.area_bytes, sizeof last);
  if (last != kMagic2) return std::nullopt;
  // The kernel takes no area that is longer than this processor's.
  std::uint64_t end = kXstateHeaderAt + kXstateHeaderBytes;
  std::uint64_t components = kLegacyComponents;
  for (const auto& component : own) {
    const std::uint64_t its_end = component.offset + component.size_bytes;
    if (component.number == kTiles || its_end > use.area_bytes) continue;
    end = std::max(end, its_end);
    components |= 1ULL << component.number;
  }
  const auto area = frame.first(use.area_bytes);
  auto made = convert_xstate(area, saved, area.first(end), own);
  use.components = components;
  use.area_bytes = static_cast<std::uint32_t>(end);
  use.extended_bytes = use.area_bytes + sizeof kMagic2;
  std::memcpy(made.data() + kKernelUseAt, &use, sizeof use);
  const auto magic = std::as_bytes(std::span(&kMagic2, 1));
  made.insert(made.end(), magic.begin(), magic.end());
  return made;
}

std::uint64_t state_save_bytes(const XstateLayout& layout) {
  constexpr std::uint64_t kAlignment = 64;
  constexpr std::uint64_t kRegisters = 192;  // what is saved beside it, in any glibc
  std::uint64_t end = kXstateHeaderAt + kXstateHeaderBytes;
  for (const auto& component : layout)
    if (component.number != kTileConfiguration && component.number != kTiles)
      end = std::max(end, component.offset + component.size_bytes);
  return (end + kRegisters + kAlignment - 1) & ~(kAlignment - 1);
}

std::vector<StateSave> find_state_saves(std::span<const std::byte> code) {
  constexpr std::array<std::byte, 3> kSub = {std::byte{0x48}, std::byte{0x2b}, std::byte{0x25}};
  constexpr std::size_t kSubBytes = kSub.size() + sizeof(std::int32_t);
  constexpr std::size_t kFurthest = 256;
  // xsave, xsavec; before a place on the stack.
  constexpr std::array<std::array<std::byte, 2>, 2> kSaves = {
      {{std::byte{0x0f}, std::byte{0xae}}, {std::byte{0x0f}, std::byte{0xc7}}}};
  const auto is_save = [&](std::size_t at) {
    // ModRM: memory at rsp with a displacement, and /4 for both instructions.
    const auto form = std::to_integer<unsigned>(code[at + 2]) & 0x3fU;
    return form == 0x24 && std::any_of(kSaves.begin(), kSaves.end(), [&](const auto& save) {
             return code[at] == save[0] && code[at + 1] == save[1];
           });
  };
  std::vector<StateSave> found;
  auto from = code.begin();
  for (;;) {
    from = std::search(from, code.end(), kSub.begin(), kSub.end());
    if (from == code.end()) return found;
    const auto at = static_cast<std::size_t>(from - code.begin());
    ++from;
    if (code.size() - at < kSubBytes) return found;
    std::int32_t distance = 0;
    std::memcpy(&distance, code.data() + at + kSub.size(), sizeof distance);
    const std::size_t begin = at + kSubBytes;
    const std::size_t limit = std::min(begin + kFurthest, code.size());
    for (std::size_t save = begin; save + 4 < limit; ++save) {
      if (!is_save(save)) continue;
      found.push_back({begin, save + 4, static_cast<std::int64_t>(begin) + distance});
      break;
    }
  }
}

}  // namespace ckpt::arch
