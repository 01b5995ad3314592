// ckpt-record: runs a program and writes down what it is told by the kernel and the processor.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "arguments.hpp"
#include "base/error.hpp"
#include "base/printable.hpp"
#include "image/format.hpp"
#include "recorder/recorder.hpp"
#include "text.hpp"

namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

/// As a shell finds it.
std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return std::filesystem::absolute(name);
  const char* path = std::getenv("PATH");
  std::istringstream directories(path == nullptr ? "/usr/bin:/bin" : path);
  for (std::string directory; std::getline(directories, directory, ':');) {
    const auto candidate = std::filesystem::absolute(directory) / name;
    if (std::filesystem::is_regular_file(candidate) && ::access(candidate.c_str(), X_OK) == 0)
      return candidate;
  }
  ckpt::fail(ckpt::ErrorKind::not_found, "{}: there is no such program", name);
}

std::vector<std::string> own_environment() {
  std::vector<std::string> all;
  for (char** variable = environ; *variable != nullptr; ++variable) all.emplace_back(*variable);
  return all;
}

void report(const ckpt::recorder::Outcome& outcome, const std::string& file) {
  fmt::print(stderr, "Recorded {}: {} event{}, {} thread{}, {} in {:.2f} s\n",
             ckpt::printable(file), outcome.events, outcome.events == 1 ? "" : "s", outcome.threads,
             outcome.threads == 1 ? "" : "s", ckpt::size_text(outcome.file_bytes), outcome.seconds);
  for (const auto& note : outcome.notes) fmt::print(stderr, "note: {}\n", note);
}

/// The program's own status, as a shell has it.
int exit_status(int wait_status) {
  constexpr int kSignalled = 128;
  return WIFSIGNALED(wait_status) ? kSignalled + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

void tell_refusal(const std::string& why) {
  fmt::print(stderr,
             "ckpt-record: cannot record {}; the recording ends here, the program runs on\n",
             ckpt::printable(why));
}

}  // namespace

int main(int argc, char** argv) {
  ckpt::recorder::Options options;
  options.output = "ckpt.rec";
  std::vector<std::string> words;
  CLI::App app(
      "Runs a program and records it, so that ckpt-replay can run it again as it ran: its threads "
      "one at a time, with the same results of system calls and the same signals.");
  app.set_version_flag("--version", std::string(ckpt::image::kCreator));
  app.add_option("-o,--output", options.output, "the recording to write")
      ->type_name("FILE")
      ->capture_default_str();
  app.add_flag("--force", options.replace, "replace FILE if it exists");
  app.add_option("--digest-every", options.digest_every,
                 "take a digest of memory every so many events (0: now and then)")
      ->type_name("EVENTS")
      ->capture_default_str();
  // All words from the first that is not an option of this program are the recorded one's.
  app.prefix_command();
  app.footer("Then comes the program with its arguments: ckpt-record [OPTIONS] PROGRAM [ARGS...]");
  try {
    app.parse(argc, argv);
    words = app.remaining();
    if (!words.empty() && words.front() == "--") words.erase(words.begin());
    if (words.empty()) throw CLI::RequiredError("PROGRAM");
    if (words.front().starts_with('-'))
      throw CLI::ExtrasError(std::vector<std::string>{words.front()});
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    ckpt::tell_wrong("ckpt-record", app, {argv, static_cast<std::size_t>(argc)}, error);
    return kUsage;
  }
  try {
    ckpt::recording::Command command{find_program(words.front()), words, own_environment()};
    const auto outcome = ckpt::recorder::record(command, options, tell_refusal);
    report(outcome, options.output);
    return exit_status(outcome.wait_status);
  } catch (const std::exception& error) {
    fmt::print(stderr, "ckpt-record: {}\n", ckpt::printable(error.what()));
    return kFailed;
  }
}
