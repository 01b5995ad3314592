// What snapshots may be called, and which name is the next one. Pure: the store is not looked at.
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <string_view>

namespace ckpt::store {

/// In bytes. Long enough for anybody, short enough for a file name with our suffix and a temporary
/// one behind it.
constexpr std::size_t kNameLimit = 200;

/// Throws Error (usage) unless `name` may name a snapshot: one word, no "/", not starting with "-"
/// or ".".
void check_name(const std::string& name);
/// Whether check_name() lets it pass.
bool is_name(const std::string& name);

/// The last component of the path `program` made a name to which a number can be added: all but
/// letters, digits and "._+-" becomes "_". "program" if nothing is left.
std::string stem_of(const std::string& program);

/// STEM-N, with N one more than the largest among `taken`.
std::string next_name(const std::string& stem, const std::set<std::string>& taken);

/// `name` if it is not among `taken`, else the first of NAME-2, NAME-3, ... that is not. Nothing
/// ("") when that is no name any more.
std::string free_name(const std::string& name, const std::set<std::string>& taken);

}  // namespace ckpt::store
