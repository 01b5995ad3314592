// What the unit tests share.
#pragma once

#include <stdlib.h>  // NOLINT(modernize-deprecated-headers): mkdtemp is POSIX

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace ckpt::test {

/// Runs `action` and returns the Error it throws; fails the test when it throws none.
inline std::optional<Error> error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error was thrown";
  return std::nullopt;
}

/// Expects an Error of that kind whose line holds `part`.
inline void expect_error(const std::function<void()>& action, ErrorKind kind,
                         const std::string& part) {
  const auto error = error_of(action);
  if (!error) return;
  EXPECT_EQ(kind_name(error->kind()), kind_name(kind)) << error->what();
  EXPECT_NE(std::string(error->what()).find(part), std::string::npos)
      << "\"" << error->what() << "\" does not hold \"" << part << "\"";
  // A message is one line: it ends up behind "ckpt save: " on a user's terminal.
  EXPECT_EQ(std::string(error->what()).find('\n'), std::string::npos) << error->what();
}

/// A directory that goes away with all that is in it.
class TempDir {
 public:
  TempDir() : path_((std::filesystem::temp_directory_path() / "ckpt-unit.XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr) throw_errno("mkdtemp " + path_, errno);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace ckpt::test
