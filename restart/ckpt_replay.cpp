// ckpt-replay: runs a recorded program again and compares it with the recording.
#include <cstdio>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "arguments.hpp"
#include "base/error.hpp"
#include "base/printable.hpp"
#include "image/format.hpp"
#include "replayer/replayer.hpp"

namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

std::string counted(std::uint64_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

void check(const std::string& file) {
  ckpt::recording::Reader reader(file);
  const auto outcome = ckpt::replayer::check(reader);
  fmt::print("{}: replays as recorded: {}, {}, {:.2f} s, {} compared\n", ckpt::printable(file),
             counted(outcome.events, "event"), counted(outcome.threads, "thread"), outcome.seconds,
             counted(outcome.digests, "digest"));
  if (!outcome.refused.empty())
    fmt::print(stderr, "note: it ends before {}\n", ckpt::printable(outcome.refused));
  if (!outcome.ended) fmt::print(stderr, "note: it has no end: the recorder was ended\n");
}

}  // namespace

int main(int argc, char** argv) {
  std::string file;
  CLI::App app(
      "Runs a recorded program again, without making its system calls, and compares it with the "
      "recording.");
  app.set_version_flag("--version", std::string(ckpt::image::kCreator));
  bool only_check = false;
  app.add_flag("--check", only_check, "compare, and print one line")->required();
  app.add_option("FILE", file, "the recording, made by ckpt-record")->required()->type_name("");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    ckpt::tell_wrong("ckpt-replay", app, {argv, static_cast<std::size_t>(argc)}, error);
    return kUsage;
  }
  try {
    check(file);
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "ckpt-replay: {}\n", ckpt::printable(error.what()));
    return kFailed;
  }
}
