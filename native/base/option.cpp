#include "base/option.hpp"

namespace ckpt {

namespace {

std::string_view& dashes() {
  static std::string_view value = "-";
  return value;
}

}  // namespace

std::string option(std::string_view text) { return std::string(dashes()).append(text); }

void use_two_dashes() noexcept { dashes() = "--"; }

}  // namespace ckpt
