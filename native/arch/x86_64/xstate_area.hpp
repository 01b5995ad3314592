// The XSAVE area as the kernel and the processor lay it out (Intel SDM volume 1, chapter 13), and
// what the kernel adds to one that it puts on a stack (arch/x86/include/uapi/asm/sigcontext.h).
#pragma once

#include <cstddef>
#include <cstdint>

namespace ckpt::arch {

/// Software-reserved bytes of the legacy area: from ptrace XCR0 first, on a stack XstateOnStack.
inline constexpr std::size_t kKernelUseAt = 464;
inline constexpr std::size_t kXstateHeaderAt = 512;  // XSTATE_BV first
inline constexpr std::size_t kXstateHeaderBytes = 64;
/// Components x87 and SSE, which lie in the legacy area.
inline constexpr std::uint64_t kLegacyComponents = 3;
/// The component of AMX's tiles.
inline constexpr unsigned kTiles = 18;

inline constexpr std::uint32_t kMagic1 = 0x46505853;
inline constexpr std::uint32_t kMagic2 = 0x46505845;  // behind the area
struct XstateOnStack {
  std::uint32_t magic1 = kMagic1;
  std::uint32_t extended_bytes = 0;  // with magic2
  std::uint64_t components = kLegacyComponents;
  std::uint32_t area_bytes = 0;
};

}  // namespace ckpt::arch
