#include "base/fault.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include <fmt/format.h>

#include "base/error.hpp"

namespace ckpt {

namespace {

constexpr std::array<std::string_view, 27> kNames = {
    "save-begin",     "save-map",        "save-scratch",         "save-threads",
    "save-process",   "save-files",      "save-objects",         "save-memory",
    "save-record",    "save-check",      "save-publish",         "restore-validate",
    "restore-exec",   "restore-scratch", "restore-clear",        "restore-map",
    "restore-fill",   "restore-threads", "restore-descriptions", "restore-files",
    "restore-ids",    "restore-park",    "restore-finish",       "restore-timers",
    "restore-landed", "restore-thread",  "restore-release",
};

std::string& armed() {
  static std::string name = [] {
    const char* from_environment = std::getenv("CKPT_FAULT");  // NOLINT(concurrency-mt-unsafe)
    return std::string(from_environment == nullptr ? "" : from_environment);
  }();
  return name;
}

}  // namespace

std::span<const std::string_view> fault_names() noexcept { return kNames; }

void arm_fault(const std::string& name) {
  if (!name.empty() && std::find(kNames.begin(), kNames.end(), name) == kNames.end())
    fail(ErrorKind::usage, "no fault point is named \"{}\"", name);
  armed() = name;
}

void fault_point(std::string_view name) {
  if (armed() != name) return;
  armed().clear();
  throw Error(ErrorKind::fault, fmt::format("fault point {} fired", name), EPERM);
}

}  // namespace ckpt
