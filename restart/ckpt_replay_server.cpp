// ckpt-replay-server: shows a recording to GDB, forwards and backwards, by its remote protocol.
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "arguments.hpp"
#include "base/error.hpp"
#include "base/printable.hpp"
#include "debugserver/server.hpp"
#include "image/format.hpp"

namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

std::string check_position(const std::string& text) {
  return ckpt::debugserver::parse_position(text) ? "" : "it is begin, end or a number of events";
}

}  // namespace

int main(int argc, char** argv) {
  std::string file;
  std::string at = "begin";
  CLI::App app(
      "Shows a recording to GDB, which goes forwards and backwards in it: in GDB, `target remote | "
      "ckpt-replay-server FILE`.");
  app.set_version_flag("--version", std::string(ckpt::image::kCreator));
  app.add_option("--at", at, "where to begin: begin, end, or a number of events")
      ->type_name("POSITION")
      ->check(check_position)
      ->capture_default_str();
  app.add_option("FILE", file, "the recording, made by ckpt-record")->required()->type_name("");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    ckpt::tell_wrong("ckpt-replay-server", app, {argv, static_cast<std::size_t>(argc)}, error);
    return kUsage;
  }
  try {
    // Ctrl-C in the terminal is for GDB, which tells us.
    for (const int signal : {SIGINT, SIGPIPE}) std::signal(signal, SIG_IGN);
    ckpt::debugserver::Server server(file, STDIN_FILENO, STDOUT_FILENO);
    server.go_to(*ckpt::debugserver::parse_position(at));
    server.serve();
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "ckpt-replay-server: {}\n", ckpt::printable(error.what()));
    return kFailed;
  }
}
