// How messages name an option to the user: as it is typed where he is.
#pragma once

#include <string>
#include <string_view>

namespace ckpt {

/// "ids auto" as "-ids auto", for a GDB command, or as "--ids auto".
std::string option(std::string_view text);

/// For a program that is run by itself: its options have two dashes. Before there is a second
/// thread.
void use_two_dashes() noexcept;

}  // namespace ckpt
