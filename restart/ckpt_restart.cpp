// ckpt-restart: runs a snapshot. On its own, the program goes on in this terminal and its end
// becomes ours. With --park it waits for a debugger that attaches and gives it its last registers.
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "arguments.hpp"
#include "base/coverage.hpp"
#include "base/error.hpp"
#include "base/io.hpp"
#include "base/option.hpp"
#include "base/printable.hpp"
#include "base/similar.hpp"
#include "snapshot/restore.hpp"
#include "snapshot/snapshot.hpp"
#include "state/terminal/terminal.hpp"
#include "state/terminal/terminal_input.hpp"
#include "text.hpp"
#include "tracee/ptrace.hpp"

namespace {

using ckpt::Tid;
using ckpt::image::Json;

constexpr int kFailed = 125;  // as env(1), nohup(1) and their like: not the program's own status

struct Options {
  std::string image;
  int image_fd = -1;  // the file of that name, already open; -1 to open it
  ckpt::state::RestoreOptions restore;
  ckpt::snapshot::TransplantOptions transplant;
  bool park = false;
  bool verbose = false;
  int report_fd = -1;
  int control_fd = -1;
  bool verify = true;
};

volatile std::sig_atomic_t program_pid = 0;
// The program's session is not the terminal's.
volatile std::sig_atomic_t keys_are_for_us = 0;

// What the terminal sends (SIGHUP) reaches the program by itself; what others send us is meant for
// it, and so are the keys that are pressed for it where its session has no terminal.
void forward(int signal, siginfo_t* info, void* /*context*/) {
  const bool is_key = keys_are_for_us != 0 && (signal == SIGINT || signal == SIGQUIT);
  if (program_pid > 0 && (info->si_code <= 0 || is_key)) ::kill(program_pid, signal);
}

void forward_signal(int signal) {
  struct sigaction action {};
  action.sa_sigaction = &forward;
  action.sa_flags = SA_RESTART | SA_SIGINFO;
  ::sigaction(signal, &action, nullptr);
}

void set_handler(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  ::sigaction(signal, &action, nullptr);
}

/// The terminal gets the modes the program had, and back what it had when we end.
class TerminalModes {
 public:
  explicit TerminalModes(const Json& saved) {
    if (saved.is_null()) return;
    for (int fd = 0; fd <= 2; ++fd) {
      termios modes{};
      if (::tcgetattr(fd, &modes) != 0) continue;
      if (::tcgetpgrp(fd) != ::getpgrp()) return;  // not ours to change
      before_ = modes;
      fd_ = fd;
      ckpt::state::write_terminal(fd, saved);
      return;
    }
  }
  TerminalModes(TerminalModes&&) = delete;
  ~TerminalModes() {
    if (fd_ >= 0) ::tcsetattr(fd_, TCSANOW, &before_);
  }

  /// Types what had been typed and not read, before what has been typed here since. Where that is
  /// not possible the user is told what it was.
  void type(const std::string& input) const {
    if (input.empty()) return;
    std::string why;
    try {
      if (fd_ >= 0 && ckpt::state::may_type(fd_)) {
        ckpt::state::type_first(fd_, input, true);
        return;
      }
    } catch (const ckpt::Error& error) {
      why = fmt::format(": {}", error.what());
    }
    fmt::print(stderr, "ckpt-restart: note: {}{}\n",
               ckpt::printable(ckpt::state::cannot_type(input, fd_ < 0)), ckpt::printable(why));
  }

 private:
  int fd_ = -1;
  termios before_{};
};

/// The terminal's foreground, for a program that had a process group of its own: a shell, and what
/// one has started. It gets one again, as a shell would give it, and we stay in ours.
class Foreground {
 public:
  /// Whether we have a terminal to give. In a pipeline others of our group need it.
  static bool ours() {
    return ::isatty(0) == 1 && ::isatty(1) == 1 && ::tcgetpgrp(0) == ::getpgrp();
  }
  /// `group`: the program's, 0 for one in our own group.
  explicit Foreground(Tid group) : group_(group) {
    // We change it from the background, too.
    if (group_ != 0) set_handler(SIGTTOU, SIG_IGN);
    give();
  }
  Foreground(Foreground&&) = delete;
  ~Foreground() {
    if (group_ != 0 && ::tcgetpgrp(0) == group_) ::tcsetpgrp(0, ::getpgrp());
  }
  void give() const {
    if (group_ != 0 && ours()) ::tcsetpgrp(0, group_);
  }

 private:
  Tid group_;
};

/// Waits for the program; when it stops (Ctrl-Z), we stop, too.
int wait_for_end(Tid pid, ckpt::state::SilentPeers& peers, const Foreground& foreground) {
  ckpt::write_coverage();  // many tests kill us while we wait
  for (;;) {
    int status = 0;
    // Any of its threads: one that was let go first may have ended the program while we still
    // traced the others. Those wait to be collected by their tracer, and the program for them.
    const pid_t got = peers.wait_child(-1, &status, WUNTRACED | WCONTINUED | __WALL);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return 0;
    if (got != pid) continue;
    if (WIFSTOPPED(status)) {
      ::raise(SIGSTOP);
      foreground.give();
      ::kill(pid, SIGCONT);
      continue;
    }
    if (WIFEXITED(status) || WIFSIGNALED(status)) return status;
  }
}

/// Ends as the program ended.
int end_like(int status) {
  if (!WIFSIGNALED(status)) return WEXITSTATUS(status);
  const int signal = WTERMSIG(status);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  set_handler(signal, SIG_DFL);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, signal);
  ::sigprocmask(SIG_UNBLOCK, &only, nullptr);
  ckpt::write_coverage();
  ::raise(signal);
  return 128 + signal;
}

/// A transplanted program with what the user is to be told about it.
struct Made {
  ckpt::snapshot::Snapshot snapshot;
  ckpt::snapshot::Transplanted program;
  std::vector<std::string> checks;  // known before anything was started
  std::vector<std::string> notes;   // found while it was made
};

ckpt::image::Reader open_image(const Options& options) {
  if (options.image_fd < 0) return ckpt::image::Reader::open(options.image);
  // The program that is restored does not get it.
  if (::fcntl(options.image_fd, F_SETFD, FD_CLOEXEC) != 0)
    ckpt::throw_errno(fmt::format("the descriptor of {}", options.image), errno);
  return ckpt::image::Reader::from_fd(ckpt::UniqueFd(options.image_fd), options.image);
}

Made make(const Options& options, ckpt::snapshot::TransplantOptions transplant_options) {
  Made made{ckpt::snapshot::Snapshot(open_image(options)), {}, {}, {}};
  const auto& process = made.snapshot.saved.process;
  if (!options.park)
    transplant_options.own_process_group = process.group == process.pid && Foreground::ours();
  const auto stores = ckpt::snapshot::stores_of(made.snapshot, options.restore);
  std::vector<ckpt::UniqueFd> held;
  held.reserve(stores.size());
  for (const auto& store : stores) held.push_back(store.hold());
  ckpt::snapshot::claim_contents(made.snapshot, stores.front());
  ckpt::state::FileSource files(stores, options.restore);
  made.checks = ckpt::snapshot::check(made.snapshot, files, options.verify, {}).notes;
  const auto known = static_cast<std::ptrdiff_t>(files.notes().size());
  made.program = ckpt::snapshot::transplant(made.snapshot, files, transplant_options);
  made.notes = made.program.notes;
  made.notes.insert(made.notes.end(), files.notes().begin() + known, files.notes().end());
  return made;
}

void print_notes(const Made& made, bool verbose) {
  auto notes = made.checks;
  notes.insert(notes.end(), made.notes.begin(), made.notes.end());
  for (const auto& note : verbose ? notes : ckpt::merge_similar(notes))
    fmt::print(stderr, "ckpt-restart: note: {}\n", ckpt::printable(note));
}

int run_alone(const Options& options) {
  auto transplant_options = options.transplant;
  transplant_options.queue_held_signals = true;
  Made made = make(options, transplant_options);
  const Tid pid = made.program.pid;
  program_pid = pid;
  // The terminal's signals reach the program by themselves: it is in our process group, or in one
  // of its own that has the terminal.
  const bool own_session = made.snapshot.saved.process.own_session;
  keys_are_for_us = static_cast<int>(own_session);
  for (const int signal : {SIGINT, SIGQUIT})
    own_session ? forward_signal(signal) : set_handler(signal, SIG_IGN);
  for (const int signal : {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2}) forward_signal(signal);
  std::optional<TerminalModes> modes;
  std::optional<Foreground> foreground;
  try {
    modes.emplace(made.snapshot.reader.record().at("terminal"));
    ckpt::snapshot::finish(made.snapshot, made.program.tids);
    print_notes(made, options.verbose);
    // As long as we are the foreground: no other process can read what is there.
    if (!options.restore.streams.contains(0)) modes->type(made.snapshot.shared.terminal_input);
    foreground.emplace(!own_session && ::getpgid(pid) == pid ? pid : 0);
    ckpt::snapshot::release(made.program);
  } catch (...) {
    ::kill(pid, SIGKILL);
    throw;
  }
  const int status = wait_for_end(pid, made.program.peers, *foreground);
  foreground.reset();
  modes.reset();
  return end_like(status);
}

void report(const Options& options, const Json& line) {
  // What is not UTF-8 in a path cannot be said in JSON: better a question mark than nothing.
  ckpt::write_all(options.report_fd,
                  line.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n",
                  "the report to the debugger");
}

/// Waits for "go"; false when the debugger has gone away instead.
bool wait_for_go(const Options& options) {
  std::array<char, 16> buffer{};
  for (;;) {
    const ssize_t n = ::read(options.control_fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    return n > 0 && buffer[0] == 'g';
  }
}

Json locks_to_json(const std::vector<ckpt::libc::MovedLock>& locks) {
  Json list = Json::array();
  for (const auto& lock : locks) {
    Json words = Json::array();
    for (const auto& word : lock.before)
      words.push_back({{"offset", word.offset}, {"old", word.value}});
    list.push_back({{"address", lock.address.value}, {"words", std::move(words)}});
  }
  return list;
}

int run_parked(const Options& options) {
  Tid pid = 0;
  ckpt::state::SilentPeers peers;
  try {
    auto transplant_options = options.transplant;
    transplant_options.own_process_group = true;
    Made made = make(options, transplant_options);
    pid = made.program.pid;
    ckpt::snapshot::release(made.program);
    peers = std::move(made.program.peers);
    report(options, {{"pid", pid},
                     {"tids", made.program.tids},
                     {"ids", made.program.ids_kept ? "saved" : "virtual"},
                     {"notes", made.notes},
                     {"locks", locks_to_json(made.program.locks)}});
  } catch (const ckpt::Error& error) {
    if (pid > 0) ::kill(pid, SIGKILL);
    report(options, {{"error", error.what()}, {"kind", ckpt::kind_name(error.kind())}});
    return kFailed;
  }
  ::close(options.report_fd);
  if (!wait_for_go(options)) ::kill(pid, SIGKILL);
  ::close(options.control_fd);
  // Nothing of the terminal's may end us before the program: it would lose its parent.
  for (const int signal : {SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU})
    set_handler(signal, SIG_IGN);
  ckpt::write_coverage();
  for (;;) {
    int status = 0;
    const pid_t got = peers.wait_child(pid, &status, 0);
    if (got == pid || (got < 0 && errno != EINTR)) return 0;
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  using ckpt::snapshot::IdMode;
  using ckpt::state::ClockMode;
  using ckpt::state::FilesMode;
  using ckpt::state::PeersMode;
  const std::map<std::string, IdMode> id_modes = {
      {"auto", IdMode::automatic}, {"saved", IdMode::saved}, {"virtual", IdMode::fresh}};
  const std::map<std::string, ClockMode> clock_modes = {
      {"auto", ClockMode::automatic}, {"keep", ClockMode::keep}, {"real", ClockMode::real}};
  const std::map<std::string, FilesMode> file_modes = {{"auto", FilesMode::automatic},
                                                       {"real", FilesMode::real},
                                                       {"sandbox", FilesMode::sandbox},
                                                       {"private", FilesMode::private_copies},
                                                       {"strict", FilesMode::strict}};
  const std::map<std::string, PeersMode> peers_modes = {{"reset", PeersMode::reset},
                                                        {"silent", PeersMode::silent}};
  CLI::App app(
      "Runs a snapshot: the program goes on in this terminal from where it was saved. "
      "Its exit status or signal becomes that of ckpt-restart; 125 means that it could "
      "not be restored.");
  app.set_version_flag("--version", std::string(ckpt::image::kCreator));
  app.add_option("IMAGE", options.image, "the snapshot")->required()->type_name("");
  app.add_option("--store", options.restore.store,
                 "the directory with the contents that the snapshot refers to")
      ->type_name("DIR");
  app.add_option("--ids", options.transplant.ids, "auto, saved or virtual: process and thread ids")
      ->type_name("MODE")
      ->transform(CLI::CheckedTransformer(id_modes).description(""));
  app.add_option("--clock", options.transplant.clock,
                 "auto, keep or real: whether monotonic clocks go on from what they were")
      ->type_name("MODE")
      ->transform(CLI::CheckedTransformer(clock_modes).description(""));
  app.add_option("--files", options.restore.files,
                 "auto, real, sandbox, private or strict: how files come back")
      ->type_name("MODE")
      ->transform(CLI::CheckedTransformer(file_modes).description(""));
  app.add_option("--peers", options.restore.peers,
                 "reset or silent: how pipes and connections to other processes come back")
      ->type_name("MODE")
      ->transform(CLI::CheckedTransformer(peers_modes).description(""));
  std::vector<std::string> replaced;
  app.add_option("--file", replaced, "OLD=NEW: open NEW in place of OLD (may be repeated)")
      ->type_name("OLD=NEW")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--env", options.restore.environment,
                 "NAME=VALUE: a variable of the program's environment (may be repeated)")
      ->type_name("NAME=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  std::array<std::string, 3> streams;
  app.add_option("--stdin", streams[0], "a file for the program's standard input")
      ->type_name("FILE");
  app.add_option("--stdout", streams[1], "a new file for the program's standard output")
      ->type_name("FILE");
  app.add_option("--stderr", streams[2], "a new file for the program's standard error")
      ->type_name("FILE");
  app.add_flag("--verbose", options.verbose, "list each thing that has not come back as it was");
  app.add_flag("--park", options.park)->group("");
  app.add_flag("--numbered-newest-first", options.transplant.numbered_newest_first)->group("");
  app.add_option("--image-fd", options.image_fd)->group("");
  app.add_option("--report-fd", options.report_fd)->group("");
  app.add_option("--control-fd", options.control_fd)->group("");
  app.add_flag("!--no-verify", options.verify)->group("");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    ckpt::tell_wrong("ckpt-restart", app, {argv, static_cast<std::size_t>(argc)}, error);
    return kFailed;
  }
  try {
    for (const auto& pair : replaced) {
      const auto at = pair.find('=');
      if (at == 0 || at == std::string::npos)
        ckpt::fail(ckpt::ErrorKind::usage, "--file {}: not of the form OLD=NEW", pair);
      const auto absolute = std::filesystem::absolute(pair.substr(0, at)).lexically_normal();
      options.restore.replaced_files[absolute] = pair.substr(at + 1);
    }
    for (std::size_t i = 0; i < streams.size(); ++i)
      if (!streams.at(i).empty()) options.restore.streams[static_cast<int>(i)] = streams.at(i);
    if (options.park && (options.report_fd < 0 || options.control_fd < 0))
      ckpt::fail(ckpt::ErrorKind::usage, "--park needs --report-fd and --control-fd");
    if (options.park) return run_parked(options);  // for GDB
    ckpt::use_two_dashes();
    return run_alone(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "ckpt-restart: {}\n", ckpt::printable(error.what()));
    return kFailed;
  }
}
