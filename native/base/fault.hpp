// Named fault points: places where a save or a restore can be made to fail, one by one, so that
// tests can fire every undo path. Armed by CKPT_FAULT=name in the environment or arm_fault().
// Costs one comparison of an empty string when nothing is armed.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace ckpt {

/// All names, in the order in which a save and then a restore passes them.
std::span<const std::string_view> fault_names() noexcept;

/// Arms one point, or none for an empty name. Throws Error for an unknown name.
void arm_fault(const std::string& name);

/// Throws an Error of kind `fault` if `name` is armed, and disarms it: a second attempt
/// succeeds. Its errno is one that some calls may have for reasons of their own.
void fault_point(std::string_view name);

}  // namespace ckpt
