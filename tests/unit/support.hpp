// What the unit tests share.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

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

}  // namespace ckpt::test
