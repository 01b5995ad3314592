#include "state/descriptors/inotify.hpp"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <set>
#include <string_view>

#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/text.hpp"
#include "state/descriptors/kinds.hpp"

namespace ckpt::state {

namespace {

namespace fs = std::filesystem;
using image::Json;
using tracee::RemoteCalls;

constexpr int kMostNumbers = 1 << 16;  // numbers are given in ascending order, one by one

struct Target {
  std::uint64_t inode = 0;
  dev_t device = 0;
  std::string handle;  // struct file_handle's bytes
  int handle_type = 0;
};

bool is_target(const std::string& path, const Target& target) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && status.st_ino == target.inode &&
         status.st_dev == target.device;
}

// Only the privileged may open a file by its handle.
std::optional<std::string> name_by_handle(const Target& target,
                                          const std::vector<std::string>& places) {
  std::vector<std::byte> room(sizeof(file_handle) + target.handle.size());
  auto* handle = reinterpret_cast<file_handle*>(room.data());
  handle->handle_bytes = static_cast<unsigned>(target.handle.size());
  handle->handle_type = target.handle_type;
  std::copy(target.handle.begin(), target.handle.end(),
            reinterpret_cast<char*>(room.data() + sizeof(file_handle)));
  for (const std::string& place : places) {
    struct stat status {};
    if (::stat(place.c_str(), &status) != 0 || status.st_dev != target.device) continue;
    const UniqueFd mount(::open(place.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!mount) continue;
    const UniqueFd file(::open_by_handle_at(mount.get(), handle, O_PATH | O_CLOEXEC));
    if (!file) continue;
    auto path = try_read_link(fmt::format("/proc/self/fd/{}", file.get()));
    if (path && is_target(*path, target)) return path;
  }
  return std::nullopt;
}

// The names that a program is likely to know: of its directories and files and what is in them.
std::vector<std::string> likely_places(const CaptureContext& context) {
  std::vector<std::string> places = {"/"};
  const auto add = [&](std::string path) {
    if (!path.starts_with('/') || path.starts_with("/proc/")) return;
    while (path.size() > 1) {
      if (std::find(places.begin(), places.end(), path) == places.end()) places.push_back(path);
      path.resize(std::max<std::size_t>(path.rfind('/'), 1));
    }
  };
  add(context.process.link("cwd").value_or("/"));
  add(context.process.link("exe").value_or("/"));
  for (const int fd : context.process.descriptors())
    add(context.process.link(fmt::format("fd/{}", fd)).value_or("/"));
  for (const std::string& text : context.process.strings("cmdline")) add(text);
  for (const std::string& text : context.process.strings("environ")) {
    const auto at = text.find('=');
    if (at != std::string::npos && text.find(':', at) == std::string::npos)
      add(text.substr(at + 1));
  }
  for (const char* usual : {"/tmp", "/etc", "/var", "/run", "/dev", "/dev/shm"}) add(usual);
  return places;
}

std::optional<std::string> name_by_search(const Target& target,
                                          const std::vector<std::string>& places) {
  constexpr std::size_t kMostEntries = 20'000;
  for (const std::string& place : places)
    if (is_target(place, target)) return place;
  std::size_t looked_at = 0;
  for (const std::string& place : places) {
    struct stat status {};
    if (::stat(place.c_str(), &status) != 0 || status.st_dev != target.device ||
        !S_ISDIR(status.st_mode))
      continue;
    std::error_code unreadable;
    for (const auto& entry : fs::directory_iterator(place, unreadable)) {
      if (++looked_at > kMostEntries) return std::nullopt;
      if (is_target(entry.path().string(), target)) return entry.path().string();
    }
  }
  return std::nullopt;
}

// The lowest descriptor of that file. `removed`: only if the file has no name at all.
std::optional<int> descriptor_of(const CaptureContext& context, const Target& target,
                                 bool removed) {
  for (const int fd : context.process.descriptors()) {
    struct stat status {};
    if (::stat(context.process.path(fmt::format("fd/{}", fd)).c_str(), &status) == 0 &&
        status.st_ino == target.inode && status.st_dev == target.device &&
        (!removed || status.st_nlink == 0))
      return fd;
  }
  return std::nullopt;
}

// Sets how the watched file is found again; false if it cannot be.
bool find_target(const CaptureContext& context, const std::vector<std::string>& places,
                 const Target& target, InotifyWatch& watch) {
  auto fd = descriptor_of(context, target, true);
  if (!fd) {
    auto path = name_by_handle(target, places);
    if (!path) path = name_by_search(target, places);
    if (path) {
      watch.path = *path;
      return true;
    }
    fd = descriptor_of(context, target, false);
  }
  if (!fd) return false;
  watch.fd = *fd;
  watch.path = context.process.link(fmt::format("fd/{}", *fd)).value_or("");
  return true;
}

std::string from_hex(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    bytes += static_cast<char>(proc::parse_number<unsigned>(text.substr(i, 2), 16).value_or(0));
  return bytes;
}

// "wd:1 ino:3c51a sdev:fe00000 mask:80000100 ignored_mask:0 fhandle-bytes:8 fhandle-type:1
// f_handle:1ac5030000000000"
std::pair<InotifyWatch, Target> parse_watch(std::string_view text) {
  constexpr unsigned kMinorBits = 20;
  InotifyWatch watch;
  Target target;
  while (!text.empty()) {
    std::string_view value = proc::next_word(text);
    const std::string_view key = proc::cut(value, ':');
    const auto number = proc::parse_number<std::uint64_t>(value, 16).value_or(0);
    if (key == "wd") watch.number = static_cast<int>(number);
    if (key == "mask") watch.mask = static_cast<std::uint32_t>(number);
    if (key == "ino") watch.inode = target.inode = number;
    if (key == "sdev")
      watch.device = target.device =
          gnu_dev_makedev(static_cast<unsigned>(number >> kMinorBits),
                          static_cast<unsigned>(number & ((1U << kMinorBits) - 1)));
    if (key == "fhandle-type") target.handle_type = static_cast<int>(number);
    if (key == "f_handle") target.handle = from_hex(value);
  }
  return {watch, target};
}

}  // namespace

Inotify read_inotify(CaptureContext& context, const std::string& object, const std::string& info,
                     int own) {
  Inotify inotify;
  const auto places = likely_places(context);
  std::string_view text = info;
  while (!text.empty()) {
    std::string_view line = proc::cut(text, '\n');
    if (proc::next_word(line) != "inotify") continue;
    auto [watch, target] = parse_watch(line);
    if (!find_target(context, places, target, watch)) {
      context.report.add(
          Severity::lost, object, "inotify",
          fmt::format("watch {} is on a file whose name cannot be found (inode {} of "
                      "device {}:{}): its events never come",
                      watch.number, target.inode, gnu_dev_major(target.device),
                      gnu_dev_minor(target.device)));
      continue;
    }
    inotify.watches.push_back(std::move(watch));
  }
  std::sort(inotify.watches.begin(), inotify.watches.end(),
            [](const InotifyWatch& a, const InotifyWatch& b) { return a.number < b.number; });
  int waiting = 0;
  if (own >= 0 && ::ioctl(own, FIONREAD, &waiting) == 0 && waiting > 0)
    context.report.add(Severity::lost, object, "inotify",
                       fmt::format("{} bytes of events that the program has not read do not come "
                                   "back",
                                   waiting));
  return inotify;
}

Json inotify_to_json(const Inotify& inotify) {
  Json watches = Json::array();
  for (const InotifyWatch& watch : inotify.watches) {
    watches.push_back({{"number", watch.number},
                       {"mask", watch.mask},
                       {"path", watch.path},
                       {"inode", watch.inode},
                       {"device", watch.device}});
    if (watch.fd >= 0) watches.back()["fd"] = watch.fd;
  }
  return {{"watches", std::move(watches)}};
}

Inotify inotify_from_json(const Json& json) {
  Inotify inotify;
  int last = 0;
  for (const Json& item : json.at("watches")) {
    InotifyWatch watch;
    watch.number = item.at("number");
    if (watch.number <= last) image::damaged("the number of an inotify watch");
    last = watch.number;
    watch.mask = item.at("mask");
    watch.path = item.at("path");
    watch.inode = item.at("inode");
    watch.device = item.at("device");
    watch.fd = item.value("fd", -1);
    inotify.watches.push_back(std::move(watch));
  }
  return inotify;
}

int make_inotify(RemoteCalls& calls) {
  return calls.open("inotify_init", SYS_inotify_init1, {IN_NONBLOCK});
}

void watch_files(RemoteCalls& calls, int instance, const Inotify& inotify,
                 const std::string& object, const IsFile& is_file,
                 std::vector<std::string>& notes) {
  const auto fd = static_cast<std::uint64_t>(instance);
  int next = 1;
  bool passed_over = false;
  for (const InotifyWatch& watch : inotify.watches) {
    const auto fail_with = [&](std::string_view why) {
      notes.push_back(fmt::format("{}: watch {} on {} cannot be made again: {}", object,
                                  watch.number, watch.path, why));
    };
    if (watch.number > next + kMostNumbers) {
      fail_with("its number is too high");
      continue;
    }
    std::string name = watch.path;
    if (watch.fd >= 0) {
      if (!is_file(watch.fd)) {
        fail_with("the file does not come back");
        continue;
      }
      name = fmt::format("/proc/self/fd/{}", watch.fd);
    }
    struct stat status {};
    if (watch.fd < 0 && ::stat(name.c_str(), &status) == 0 &&
        (status.st_ino != watch.inode || status.st_dev != watch.device))
      notes.push_back(
          fmt::format("{}: watch {}: {} is another file by now, which is watched in its "
                      "place",
                      object, watch.number, watch.path));
    // IN_MASK_CREATE and the like say how to add, and were for that time.
    const std::uint64_t mask = watch.mask & ~(IN_MASK_ADD | IN_MASK_CREATE);
    for (;;) {
      const Addr path = calls.put_string(name);
      const std::int64_t number = calls.attempt(SYS_inotify_add_watch, {fd, path.value, mask});
      if (number < 0) {
        fail_with(describe_errno(static_cast<int>(-number)));
        break;
      }
      next = static_cast<int>(number) + 1;
      if (number == watch.number) break;
      calls.attempt(SYS_inotify_rm_watch, {fd, static_cast<std::uint64_t>(number)});
      passed_over = true;
      if (number > watch.number) {
        fail_with("another watch has its number");
        break;
      }
    }
  }
  if (passed_over) {
    // Each removal has left an IN_IGNORED behind.
    constexpr std::uint64_t kPiece = 1U << 16U;
    const Addr into = calls.reserve(kPiece);
    while (calls.attempt(SYS_read, {fd, into.value, kPiece}) > 0) {
    }
  }
}

namespace {

bool describe_inotify(const Describing& describing, Description& description) {
  description.details =
      read_inotify(describing.context, describing.object, describing.fdinfo, describing.own);
  return true;
}

// One that is in a message only has no number later on.
int make_with_watches(const Description& description, const Making& making) {
  const int fd = make_inotify(making.calls);
  if (!making.numbered)
    watch_files(
        making.calls, fd, description.get<Inotify>(), making.object, [](int) { return false; },
        making.notes);
  return fd;
}

void link_inotify(const Description& description, const Linking& linking) {
  const DescriptorTable& table = linking.table;
  const auto is_file = [&](int fd) {
    return std::any_of(
        table.descriptors.begin(), table.descriptors.end(), [&](const Descriptor& one) {
          return one.fd == fd && table.descriptions.at(one.description).kind->is_file;
        });
  };
  watch_files(linking.calls, linking.number, description.get<Inotify>(),
              fmt::format("fd {}", linking.number), is_file, linking.notes);
}

}  // namespace

const DescriptorKind kinds::inotify = {.name = "inotify",
                                       .anonymous = "inotify",
                                       .describe = describe_inotify,
                                       .to_json = written_by<Inotify, inotify_to_json>,
                                       .from_json = parsed_by<inotify_from_json>,
                                       .make = make_with_watches,
                                       .link = link_inotify};

}  // namespace ckpt::state
