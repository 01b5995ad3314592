#include "state/process/creation.hpp"

#include <cerrno>

#include <fmt/format.h>

namespace ckpt::state {

void throw_not_created(std::string_view what, Tid wanted, int error_number) {
  const std::string attempt = wanted == 0 ? fmt::format("create {}", what)
                                          : fmt::format("create {} with the id {}", what, wanted);
  if (error_number == EAGAIN)
    throw Error(ErrorKind::system,
                fmt::format("{}: {}: the user may have no more processes and threads (ulimit -u)",
                            attempt, describe_errno(error_number)),
                error_number);
  if (wanted == 0) throw_errno(attempt, error_number);
  // As clone(2) has them: it is taken, it may not be chosen, there is none so large.
  if (error_number == EEXIST || error_number == EPERM || error_number == EINVAL)
    throw IdRefused(fmt::format("{}: {}", attempt, describe_errno(error_number)), error_number);
  throw_errno(attempt, error_number);
}

}  // namespace ckpt::state
