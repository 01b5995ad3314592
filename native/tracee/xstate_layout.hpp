// The XSAVE area as core files hold it for debuggers. A processor may place a component anywhere
// (CPUID leaf 0xd), but a core file does not say where: GDB before 14 takes the places on Intel's
// processors for granted, and says "Section `.reg-xstate' in core file too small" of an area that
// ends before them, as on AMD's; later ones guess from the size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace ckpt::tracee {

/// Where this processor has a component of the area, in bytes.
std::size_t component_offset(unsigned component);

/// `area`, as PTRACE_GETREGSET gave it, with each component where debuggers look for it. The same
/// area if it holds live components that debuggers know no place for.
std::vector<std::byte> area_for_debuggers(
    std::span<const std::byte> area,
    const std::function<std::size_t(unsigned component)>& offset_of = component_offset);

}  // namespace ckpt::tracee
