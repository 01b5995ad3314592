// Many lines that say the same of many objects, as one: "fd 23-42: TCP socket: the connection with
// 10.0.0.7:... comes back as if its peer had reset it (20 like this)".
#pragma once

#include <span>
#include <string>
#include <vector>

namespace ckpt {

/// The lines in their order, where three or more that differ in nothing but numbers, addresses and
/// paths are one, in the place of the first.
std::vector<std::string> merge_similar(std::span<const std::string> lines);

}  // namespace ckpt
