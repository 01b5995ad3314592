// The one exception type of the core.
//
// An Error names what failed, on what object, and why, in one line that a user can act on.
// It is translated once, in bindings/ (to a Python exception) and in the programs (to an exit
// status); no code in between catches it except to add context or to undo.
#pragma once

#include <string>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

namespace ckpt {

enum class ErrorKind {
  usage,         // the caller asked for something that makes no sense
  system,        // a system call failed
  process_gone,  // the inferior died under us
  refused,       // the state of the inferior does not allow it
  damaged,       // an image is truncated, corrupted or not an image
  unsupported,   // this kernel, CPU or format version lacks something
  interrupted,   // the user cancelled
  exists,        // would overwrite something that belongs to the user
  not_found,     // no such snapshot, object or process
  files,         // a file of the program changed and the chosen mode forbids to go on
  fault,         // an armed fault point fired (tests)
};

/// The stable name of a kind, as Python and JSON show it ("process-gone").
std::string_view kind_name(ErrorKind kind) noexcept;

class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string text, int error_number = 0);

  [[nodiscard]] ErrorKind kind() const noexcept { return kind_; }
  /// errno of the failed call, 0 if no call failed.
  [[nodiscard]] int error_number() const noexcept { return error_number_; }
  [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }

  /// Puts "WHERE: " in front; contexts read from the outside in.
  Error& add_context(std::string_view where);

 private:
  ErrorKind kind_;
  int error_number_;
  std::string text_;
};

/// "No such process (ESRCH)".
std::string describe_errno(int error_number);

/// Throws an Error of kind `system` (or `process_gone` for ESRCH) built from errno.
[[noreturn]] void throw_errno(std::string_view what, int error_number);

template <typename... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace ckpt
