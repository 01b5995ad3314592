#include "base/error.hpp"

#include <cerrno>
#include <cstring>

namespace ckpt {

std::string_view kind_name(ErrorKind kind) noexcept {
  switch (kind) {
    case ErrorKind::usage: return "usage";
    case ErrorKind::system: return "system";
    case ErrorKind::process_gone: return "process-gone";
    case ErrorKind::refused: return "refused";
    case ErrorKind::damaged: return "damaged";
    case ErrorKind::unsupported: return "unsupported";
    case ErrorKind::interrupted: return "interrupted";
    case ErrorKind::exists: return "exists";
    case ErrorKind::not_found: return "not-found";
    case ErrorKind::files: return "files";
    case ErrorKind::fault: return "fault";
  }
  return "system";
}

Error::Error(ErrorKind kind, std::string text, int error_number)
    : kind_(kind), error_number_(error_number), text_(std::move(text)) {}

Error& Error::add_context(std::string_view where) {
  text_ = fmt::format("{}: {}", where, text_);
  return *this;
}

std::string describe_errno(int error_number) {
  const char* name = strerrorname_np(error_number);
  const char* text = strerrordesc_np(error_number);
  if (name == nullptr || text == nullptr) return fmt::format("error {}", error_number);
  return fmt::format("{} ({})", text, name);
}

void throw_errno(std::string_view what, int error_number) {
  const auto kind = error_number == ESRCH ? ErrorKind::process_gone : ErrorKind::system;
  throw Error(kind, fmt::format("{}: {}", what, describe_errno(error_number)), error_number);
}

}  // namespace ckpt
