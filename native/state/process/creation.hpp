// Processes and threads that are to have the ids that were saved.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "base/types.hpp"

namespace ckpt::state {

/// The kernel does not give that id: another process has it, or it is not ours to choose.
class IdRefused : public Error {
 public:
  IdRefused(std::string text, int error_number)
      : Error(ErrorKind::system, std::move(text), error_number) {}
};

/// Throws for a process or thread (`what`: "a thread") that could not be created: IdRefused if that
/// is for the id that it was to have (`wanted`, 0 for any), else Error.
[[noreturn]] void throw_not_created(std::string_view what, Tid wanted, int error_number);

}  // namespace ckpt::state
