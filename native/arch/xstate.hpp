// The extended state of a thread (XSAVE; Intel SDM volume 1, chapter 13): which components a
// processor has, and where in the area each lies. ptrace hands the area over in the standard
// format, in which every component has a fixed place; but the places are the processor's: Intel's
// AVX-512 lies elsewhere than AMD's.
//
// Pure, but for what asks this processor for its layout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace ckpt::arch {

struct XstateComponent {
  unsigned number = 0;  // the bit in XCR0
  std::uint64_t offset = 0;
  std::uint64_t size_bytes = 0;
  bool operator==(const XstateComponent&) const = default;
};

/// The components behind the legacy area and the header, which every processor has; ascending.
using XstateLayout = std::vector<XstateComponent>;

/// What this processor has and the kernel has enabled.
const XstateLayout& own_xstate_layout();

/// For snapshots of earlier versions, which do not say: places as here, of what was enabled there.
XstateLayout presumed_xstate_layout(std::span<const std::byte> xstate);

/// Whether there can be such a component, and the areas that it makes have a sensible size.
bool is_possible(const XstateComponent& component);

/// What an area has at least: the legacy area and the header.
inline constexpr std::size_t kLeastXstateBytes = 576;
/// How much of it core files have as the floating-point registers (NT_FPREGSET): the legacy area.
inline constexpr std::size_t kFloatingPointBytes = 512;

/// XSAVE components that the area holds live (XSTATE_BV).
std::uint64_t live_components(std::span<const std::byte> xstate);
inline constexpr std::uint64_t kTileData = 1ULL << 18U;

/// Names of components that hold something in the area `before`, which is laid out as `layout`, and
/// are not live in what was made of it; empty if there are none. Protection keys and MPX do
/// not count.
std::string components_not_in(std::span<const std::byte> made, std::span<const std::byte> before,
                              const XstateLayout& layout);

/// The same, of what another processor, which has `own`, would make of the area.
std::string lost_components(std::span<const std::byte> xstate, const XstateLayout& saved,
                            const XstateLayout& own);

/// The area `saved`, laid out as `saved_layout`, as one for a processor with `own`. `model`: an
/// area that this processor's kernel gave, for its size.
std::vector<std::byte> convert_xstate(std::span<const std::byte> saved,
                                      const XstateLayout& saved_layout,
                                      std::span<const std::byte> model, const XstateLayout& own);

/// `area`, as PTRACE_GETREGSET gave it and laid out as `layout`, with each component where
/// debuggers look for it in a core file, which does not tell the layout: GDB before 14 takes the
/// places on Intel's processors for granted, and says "Section `.reg-xstate' in core file too
/// small" of an area that ends before them, as on AMD's; later ones guess from the size. The same
/// area if it holds live components that debuggers know no place for.
std::vector<std::byte> area_for_debuggers(std::span<const std::byte> area,
                                          const XstateLayout& layout);

/// The state that the kernel has put on a stack for a handler to return to (struct _fpx_sw_bytes),
/// at `frame`: as a processor with `own` layout takes it, no longer than it is. Nothing if it has
/// no extended state, or if that is not whole.
std::optional<std::vector<std::byte>> convert_signal_state(std::span<const std::byte> frame,
                                                           const XstateLayout& saved,
                                                           const XstateLayout& own);
inline constexpr std::size_t kMostSignalStateBytes = 16384;

/// What must be reserved for an area in which code saves all components but AMX's.
std::uint64_t state_save_bytes(const XstateLayout& layout);

/// Places in a dynamic linker's code at which a first call of a function saves the processor's
/// state before the function is looked up: `sub size(%rip), %rsp`, registers, `xsave` or `xsavec`.
/// The size is what the linker found out at its start.
struct StateSave {
  std::uint64_t begin = 0;   // behind the `sub`; offsets in the code
  std::uint64_t end = 0;     // behind the `xsave`
  std::int64_t size_at = 0;  // where the size stands
};
std::vector<StateSave> find_state_saves(std::span<const std::byte> code);

}  // namespace ckpt::arch
