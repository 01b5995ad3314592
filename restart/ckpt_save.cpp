// ckpt-save: captures a running process that one may trace, and lets it go on.
#include <sys/ptrace.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "arguments.hpp"
#include "base/error.hpp"
#include "base/printable.hpp"
#include "base/similar.hpp"
#include "libc/thread_db.hpp"
#include "snapshot/capture.hpp"
#include "state/terminal/terminal.hpp"
#include "store/directory.hpp"
#include "store/listing.hpp"
#include "text.hpp"
#include "tracee/seize.hpp"

namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

volatile std::sig_atomic_t interrupted = 0;

void on_interrupt(int /*signal*/) { interrupted = 1; }

bool show_progress(std::uint64_t done, std::uint64_t total) {
  if (::isatty(STDERR_FILENO) == 1) {
    fmt::print(stderr, "\r\033[K{} of {}", ckpt::size_text(done), ckpt::size_text(total));
    std::fflush(stderr);
  }
  return interrupted == 0;
}

ckpt::snapshot::CaptureResult save(ckpt::snapshot::CaptureRequest request) {
  // At once: should we be killed, no thread is to find that it was stopped.
  const ckpt::tracee::Seized seized(request.pid, [&](ckpt::Tid tid) {
    ckpt::snapshot::undo_needless_interruptions(request.pid, {tid});
  });
  for (const auto tid : seized.threads())
    request.threads.push_back({tid, 0, 0, seized.held_signal(tid)});
  for (const auto& handle : ckpt::libc::thread_handles(request.pid, seized.threads()))
    for (auto& thread : request.threads)
      if (thread.lwp == handle.lwp) thread.pthread = handle.pthread;
  request.selected_lwp = ckpt::proc::ProcessDir(request.pid).through();
  request.terminal = ckpt::state::read_terminal(ckpt::proc::ProcessDir(request.pid));
  request.tracer_options = PTRACE_O_TRACESYSGOOD;  // as Seized has set them
  return ckpt::snapshot::capture(request);
}

ckpt::snapshot::CaptureResult save_as(ckpt::snapshot::CaptureRequest request,
                                      const std::string& file, const std::string& name) {
  request.output = std::filesystem::absolute(file).lexically_normal();
  request.name = name;
  return save(std::move(request));
}

/// In a file of the user's choice, which need not lie in the store.
ckpt::snapshot::CaptureResult save_in_file(const ckpt::snapshot::CaptureRequest& request,
                                           const std::string& file) {
  const auto path = std::filesystem::absolute(file).lexically_normal();
  const bool in_store = ckpt::store::Layout{request.store}.holds(path);
  return save_as(request, path,
                 in_store ? path.stem().string() : ckpt::store::name_for_file(request.store, path));
}

/// As PROGRAM-N, with N one more than the largest in use. Nothing is replaced: another saver may
/// have chosen the same name at the same time.
ckpt::snapshot::CaptureResult save_in_store(ckpt::snapshot::CaptureRequest request) {
  request.overwrite = false;
  constexpr int kMostTries = 100;
  // Of a process that is not there the save itself tells.
  const auto executable = ckpt::proc::ProcessDir(request.pid).link("exe").value_or("program");
  const std::string program = executable.substr(0, executable.rfind(" (deleted)"));
  ckpt::store::create_directory(request.store);
  for (int tries = 1;; ++tries) {
    try {
      const auto name = ckpt::store::default_name(request.store, program);
      return save_as(request, ckpt::store::Layout{request.store}.snapshot(name), name);
    } catch (const ckpt::Error& error) {
      // Another process has saved a program of this name at the same time.
      if (error.kind() != ckpt::ErrorKind::exists || tries == kMostTries) throw;
    }
  }
}

void print_fidelity(const std::vector<ckpt::state::Finding>& fidelity, bool verbose) {
  if (fidelity.empty()) return;
  std::vector<std::string> lines;
  lines.reserve(fidelity.size());
  for (const auto& finding : fidelity)
    lines.push_back(fmt::format("{}: {}: {}: {}", ckpt::state::severity_name(finding.severity),
                                finding.object, finding.kind, finding.text));
  fmt::print("Will not come back as it was:\n");
  for (const auto& line : verbose ? lines : ckpt::merge_similar(lines))
    fmt::print("  {}\n", ckpt::printable(line));
}

}  // namespace

int main(int argc, char** argv) {
  ckpt::snapshot::CaptureRequest request;
  CLI::App app(
      "Captures a process that you may trace, and lets it go on. The snapshot can be "
      "restored any number of times, by ckpt-restart or by `ckpt restore` in GDB.");
  app.set_version_flag("--version", std::string(ckpt::image::kCreator));
  app.add_option("PID", request.pid, "the process to save")->required()->type_name("");
  std::string file;
  app.add_option("FILE", file,
                 "the snapshot to write (default: one in the store, called PROGRAM-N)")
      ->type_name("");
  app.add_option("--store", request.store,
                 "the directory that keeps executables, libraries and data files (default: "
                 "$CKPT_DIR, $XDG_DATA_HOME/ckpt or ~/.local/share/ckpt)")
      ->type_name("DIR");
  app.add_option("--message", request.message, "a remark to keep with the snapshot")
      ->type_name("TEXT");
  app.add_option("--file-limit", request.file_limit_bytes,
                 "keep the content of data files up to this many bytes each")
      ->type_name("BYTES")
      ->capture_default_str();
  app.add_flag("--force", request.overwrite, "replace FILE if it exists");
  bool verbose = false;
  app.add_flag("--verbose", verbose, "list each thing that will not come back as it was");
  app.add_flag("--strict", request.strict,
               "save nothing if something would be lost or come back changed");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    ckpt::tell_wrong("ckpt-save", app, {argv, static_cast<std::size_t>(argc)}, error);
    return kUsage;
  }

  struct sigaction action {};
  action.sa_handler = &on_interrupt;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  // A limit on file sizes (ulimit -f) then is an error of write(2), and the program is let go.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    if (request.store.empty()) request.store = ckpt::store::default_directory();
    request.store = std::filesystem::absolute(request.store).lexically_normal();
    if (request.store.ends_with('/')) request.store.pop_back();
    request.progress = &show_progress;
    const auto result = file.empty() ? save_in_store(request) : save_in_file(request, file);
    if (::isatty(STDERR_FILENO) == 1) fmt::print(stderr, "\r\033[K");
    fmt::print("Saved {}: {} in {:.2f} s, {} thread{}\n",
               ckpt::printable(file.empty() ? result.path : file),
               ckpt::size_text(result.file_bytes), result.seconds, result.threads,
               result.threads == 1 ? "" : "s");
    print_fidelity(result.fidelity, verbose);
    return 0;
  } catch (const std::exception& error) {
    if (::isatty(STDERR_FILENO) == 1) fmt::print(stderr, "\r\033[K");
    fmt::print(stderr, "ckpt-save: {}\n", ckpt::printable(error.what()));
    return kFailed;
  }
}
