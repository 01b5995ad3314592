// What was wrong with a command line, in words.
#pragma once

#include <cstdio>
#include <span>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/printable.hpp"

namespace ckpt {

/// The parser complains of what is missing before it complains of what it does not know: an option
/// that was misspelled is the better explanation of both.
inline std::string what_is_wrong(const CLI::App& app, std::span<char* const> words,
                                 const CLI::ParseError& error) {
  for (const std::string word : words.subspan(words.empty() ? 0 : 1)) {
    if (word == "--") break;
    if (word.size() < 2 || word.front() != '-') continue;
    const std::string name = word.substr(0, word.find('='));
    if (app.get_option_no_throw(name) == nullptr) return fmt::format("unknown option {}", name);
  }
  return error.what();
}

/// Says it on standard error, for the program of that name.
inline void tell_wrong(std::string_view program, const CLI::App& app, std::span<char* const> words,
                       const CLI::ParseError& error) {
  fmt::print(stderr, "{}: {} (see {} --help)\n", program,
             printable(what_is_wrong(app, words, error)), program);
}

}  // namespace ckpt
