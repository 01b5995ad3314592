#include "proc/status.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "proc/text.hpp"

namespace ckpt::proc {

namespace {

template <typename Int>
Int number(std::string_view text, std::string_view file, std::string_view line, int base = 10) {
  const auto value = parse_number<Int>(text, base);
  if (!value) fail(ErrorKind::unsupported, "{}: cannot parse \"{}\"", file, line);
  return *value;
}

}  // namespace

Status parse_status(std::string_view text) {
  constexpr std::string_view kFile = "/proc/PID/status";
  Status status;
  bool saw_pid = false;
  while (!text.empty()) {
    const std::string_view line = cut(text, '\n');
    std::string_view rest = line;
    const std::string_view key = cut(rest, ':');
    std::string_view value = rest;
    skip_blanks(value);
    const auto parse_ids = [&](std::array<std::uint32_t, 4>& ids) {
      for (auto& id : ids) id = number<std::uint32_t>(next_word(rest), kFile, line);
    };
    if (key == "Name") {
      status.name = value;
    } else if (key == "State") {
      status.state = value.empty() ? '?' : value.front();
    } else if (key == "Umask") {
      status.umask = number<std::uint32_t>(value, kFile, line, 8);
    } else if (key == "Tgid") {
      status.tgid = number<Tid>(value, kFile, line);
    } else if (key == "Pid") {
      status.pid = number<Tid>(value, kFile, line);
      saw_pid = true;
    } else if (key == "TracerPid") {
      status.tracer = number<Tid>(value, kFile, line);
    } else if (key == "NSpid") {
      for (auto word = next_word(rest); !word.empty(); word = next_word(rest))
        status.ns_pids.push_back(number<Tid>(word, kFile, line));
    } else if (key == "Uid") {
      parse_ids(status.uids);
    } else if (key == "Gid") {
      parse_ids(status.gids);
    } else if (key == "Threads") {
      status.threads = number<int>(value, kFile, line);
    } else if (key == "SigPnd") {
      status.pending = number<std::uint64_t>(value, kFile, line, 16);
    } else if (key == "ShdPnd") {
      status.shared_pending = number<std::uint64_t>(value, kFile, line, 16);
    } else if (key == "SigBlk") {
      status.blocked = number<std::uint64_t>(value, kFile, line, 16);
    } else if (key == "SigIgn") {
      status.ignored = number<std::uint64_t>(value, kFile, line, 16);
    } else if (key == "SigCgt") {
      status.caught = number<std::uint64_t>(value, kFile, line, 16);
    } else if (key == "Groups") {
      for (auto word = next_word(rest); !word.empty(); word = next_word(rest))
        status.groups.push_back(number<std::uint32_t>(word, kFile, line));
    } else if (key == "CapInh") {
      status.inheritable_capabilities = number<std::uint64_t>(value, kFile, line, 16);
    } else if (key == "CapPrm") {
      status.permitted_capabilities = number<std::uint64_t>(value, kFile, line, 16);
    } else if (key == "CapEff") {
      status.effective_capabilities = number<std::uint64_t>(value, kFile, line, 16);
    } else if (key == "CapBnd") {
      status.bounding_capabilities = number<std::uint64_t>(value, kFile, line, 16);
    } else if (key == "CapAmb") {
      status.ambient_capabilities = number<std::uint64_t>(value, kFile, line, 16);
    } else if (key == "Seccomp") {
      status.seccomp = number<int>(value, kFile, line);
    } else if (key == "NoNewPrivs") {
      status.no_new_privs = number<int>(value, kFile, line);
    }
  }
  if (!saw_pid) fail(ErrorKind::unsupported, "{}: no Pid line", kFile);
  return status;
}

Stat parse_stat(std::string_view text) {
  constexpr std::string_view kFile = "/proc/PID/stat";
  // What an error shows: messages are one line.
  const std::string_view shown = text.substr(0, std::min<std::size_t>(text.find('\n'), 80));
  // The name is in parentheses and may itself hold parentheses and blanks: the last ")" ends it.
  const auto open = text.find('(');
  const auto close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open)
    fail(ErrorKind::unsupported, "{}: cannot parse \"{}\"", kFile, shown);
  Stat stat;
  stat.comm = text.substr(open + 1, close - open - 1);
  std::string_view rest = text.substr(close + 1);
  if (rest.ends_with('\n')) rest.remove_suffix(1);
  const std::string_view state = next_word(rest);
  stat.state = state.empty() ? '?' : state.front();
  // Fields are numbered as in proc(5); the state is field 3. Negative numbers (tty_nr, nice) are
  // possible.
  for (int field = 4; field <= 51; ++field) {
    const std::string_view word = next_word(rest);
    const auto address = [&] { return Addr{number<std::uint64_t>(word, kFile, shown)}; };
    switch (field) {
      case 4: stat.parent = number<Tid>(word, kFile, shown); break;
      case 5: stat.process_group = number<Tid>(word, kFile, shown); break;
      case 6: stat.session = number<Tid>(word, kFile, shown); break;
      case 7:
        stat.tty_device = static_cast<std::uint32_t>(number<std::int64_t>(word, kFile, shown));
        break;
      case 8: stat.foreground_group = number<Tid>(word, kFile, shown); break;
      case 9: stat.flags = number<std::uint32_t>(word, kFile, shown); break;
      case 22: stat.start_time_ticks = number<std::uint64_t>(word, kFile, shown); break;
      case 26: stat.start_code = address(); break;
      case 27: stat.end_code = address(); break;
      case 28: stat.start_stack = address(); break;
      case 38: stat.exit_signal = number<int>(word, kFile, shown); break;
      case 45: stat.start_data = address(); break;
      case 46: stat.end_data = address(); break;
      case 47: stat.start_brk = address(); break;
      case 48: stat.arg_start = address(); break;
      case 49: stat.arg_end = address(); break;
      case 50: stat.env_start = address(); break;
      case 51: stat.env_end = address(); break;
      default: break;
    }
  }
  return stat;
}

}  // namespace ckpt::proc
