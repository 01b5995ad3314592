#include "proc/process_dir.hpp"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <memory>

#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/text.hpp"

namespace ckpt::proc {

namespace {

struct Closer {
  void operator()(DIR* dir) const { ::closedir(dir); }
};
using Directory = std::unique_ptr<DIR, Closer>;

Directory open_directory(const std::string& path) {
  Directory dir(::opendir(path.c_str()));
  if (!dir) throw_errno(fmt::format("open {}", path), errno == ENOENT ? ESRCH : errno);
  return dir;
}

template <typename Int>
std::vector<Int> numeric_entries(const std::string& path) {
  const Directory dir = open_directory(path);
  std::vector<Int> numbers;
  while (const dirent* entry = ::readdir(dir.get())) {
    if (const auto number = parse_number<Int>(entry->d_name)) numbers.push_back(*number);
  }
  return numbers;
}

// A process that died makes /proc/PID/x ENOENT or ESRCH: say which process, not which file.
template <typename Function>
auto about_process(Tid pid, Function function) {
  try {
    return function();
  } catch (const Error& error) {
    if (error.error_number() == ENOENT || error.error_number() == ESRCH)
      throw Error(ErrorKind::process_gone, fmt::format("process {}: no such process", pid), ESRCH);
    throw;
  }
}

bool has_ended(const std::string& directory) {
  const auto text = try_read_file(directory + "/stat");
  const auto at = text ? text->rfind(") ") : std::string::npos;
  if (at == std::string::npos || at + 2 >= text->size()) return true;
  return (*text)[at + 2] == 'Z' || (*text)[at + 2] == 'X';
}

}  // namespace

std::vector<Tid> all_processes() { return numeric_entries<Tid>("/proc"); }

ProcessDir::ProcessDir(Tid pid) : pid_(pid), through_(pid) {
  const std::string tasks = fmt::format("/proc/{}/task", pid);
  if (!has_ended(fmt::format("{}/{}", tasks, pid))) return;
  try {
    for (const Tid tid : numeric_entries<Tid>(tasks)) {
      if (has_ended(fmt::format("{}/{}", tasks, tid))) continue;
      through_ = tid;
      return;
    }
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): the first read will say it
  }
}

std::string ProcessDir::path(const std::string& name) const {
  return fmt::format("/proc/{}/{}", through_, name);
}

std::vector<Tid> ProcessDir::threads() const {
  return about_process(pid_, [&] { return numeric_entries<Tid>(path("task")); });
}

std::vector<int> ProcessDir::descriptors() const {
  auto numbers = numeric_entries<int>(path("fd"));
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

std::vector<std::pair<int, std::string>> ProcessDir::descriptor_links() const {
  const Directory dir = open_directory(path("fd"));
  std::vector<std::pair<int, std::string>> links;
  std::array<char, PATH_MAX> target{};
  while (const dirent* entry = ::readdir(dir.get())) {
    const auto fd = parse_number<int>(entry->d_name);
    const ssize_t length =
        fd ? ::readlinkat(::dirfd(dir.get()), entry->d_name, target.data(), target.size()) : -1;
    if (length > 0)
      links.emplace_back(*fd, std::string(target.data(), static_cast<std::size_t>(length)));
  }
  return links;
}

std::vector<Tid> ProcessDir::children() const {
  std::vector<Tid> all;
  for (const Tid thread : threads()) {
    const auto text = try_read_file(path(fmt::format("task/{}/children", thread)));
    if (!text) continue;
    std::string_view rest = *text;
    for (auto word = next_word(rest); !word.empty(); word = next_word(rest))
      if (const auto pid = parse_number<Tid>(word)) all.push_back(*pid);
  }
  return all;
}

Status ProcessDir::status() const { return parse_status(read("status")); }

Status ProcessDir::status(Tid thread) const {
  return parse_status(read(fmt::format("task/{}/status", thread)));
}

Stat ProcessDir::stat() const { return parse_stat(read("stat")); }

Stat ProcessDir::stat(Tid thread) const {
  return parse_stat(read(fmt::format("task/{}/stat", thread)));
}

std::vector<Mapping> ProcessDir::mappings() const { return parse_maps(read("maps")); }

std::vector<Mapping> ProcessDir::detailed_mappings() const { return parse_maps(read("smaps")); }

FdInfo ProcessDir::fdinfo(int fd) const { return parse_fdinfo(read(fmt::format("fdinfo/{}", fd))); }

std::string ProcessDir::comm(Tid thread) const {
  std::string name = read(fmt::format("task/{}/comm", thread));
  if (!name.empty() && name.back() == '\n') name.pop_back();
  return name;
}

bool ProcessDir::is_kernel_worker(Tid thread) const {
  constexpr std::uint32_t kIoWorker = 0x10;  // PF_IO_WORKER: any thread may have such a name
  const auto text = try_read_file(path(fmt::format("task/{}/stat", thread)));
  if (!text) return false;
  const Stat stat = parse_stat(*text);
  return stat.comm.starts_with("iou-") && (stat.flags & kIoWorker) != 0;
}

std::string ProcessDir::read(const std::string& name) const {
  return about_process(pid_, [&] { return read_file(path(name), 1U << 30U); });
}

std::optional<std::string> ProcessDir::link(const std::string& name) const {
  return try_read_link(path(name));
}

UniqueFd ProcessDir::open(const std::string& name, int flags) const {
  return about_process(pid_, [&] { return open_file(path(name), flags); });
}

std::vector<std::string> ProcessDir::strings(const std::string& name) const {
  const std::string text = read(name);
  std::vector<std::string> list;
  std::string_view rest = text;
  while (!rest.empty()) list.emplace_back(cut(rest, '\0'));
  return list;
}

}  // namespace ckpt::proc
