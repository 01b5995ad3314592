#include "state/descriptors/inotify.hpp"

#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <set>
#include <string_view>

#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/text.hpp"
#include "state/descriptors/kinds.hpp"

namespace ckpt::state {

namespace {

using image::Json;

constexpr int kMostNumbers = 1 << 16;  // numbers are given in ascending order, one by one

// "wd:1 ino:3c51a sdev:fe00000 mask:80000100 ignored_mask:0 fhandle-bytes:8 fhandle-type:1
// f_handle:1ac5030000000000"
std::pair<InotifyWatch, WatchedInode> parse_watch(std::string_view text) {
  InotifyWatch watch;
  WatchedInode target;
  while (!text.empty()) {
    std::string_view value = proc::next_word(text);
    const std::string_view key = proc::cut(value, ':');
    if (target.take(key, value)) continue;
    const auto number = proc::parse_number<std::uint32_t>(value, 16).value_or(0);
    if (key == "wd") watch.number = static_cast<int>(number);
    if (key == "mask") watch.mask = number;
  }
  return {watch, target};
}

}  // namespace

Inotify read_inotify(CaptureContext& context, const std::string& object, const std::string& info,
                     int own) {
  Inotify inotify;
  WatchedFiles files(context);
  std::string_view text = info;
  while (!text.empty()) {
    std::string_view line = proc::cut(text, '\n');
    if (proc::next_word(line) != "inotify") continue;
    auto [watch, target] = parse_watch(line);
    const auto file = files.find(target);
    if (!file) {
      context.report.add(Severity::lost, object, "inotify",
                         fmt::format("watch {} is on a file whose name cannot be found ({}): its "
                                     "events never come",
                                     watch.number, inode_text(target)));
      continue;
    }
    watch.file = *file;
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

const image::Fields<InotifyWatch>& fields_of(const InotifyWatch* /*type*/) {
  static const image::Fields<InotifyWatch> fields = {
      "inotify_watch",
      {{"number", &InotifyWatch::number, "positive"},
       {"mask", &InotifyWatch::mask, ""},
       image::Field<InotifyWatch>::all_of(&InotifyWatch::file)}};
  return fields;
}

const image::Fields<Inotify>& fields_of(const Inotify* /*type*/) {
  static const image::Fields<Inotify> fields = {
      "inotify", {{"watches", &Inotify::watches, "by ascending `number`"}}, [](Inotify& inotify) {
        int last = 0;
        for (const InotifyWatch& watch : inotify.watches) {
          if (watch.number <= last) image::damaged("the number of an inotify watch");
          last = watch.number;
        }
      }};
  return fields;
}

int make_inotify(RestoreContext& inferior) {
  return inferior.open("inotify_init", SYS_inotify_init1, {IN_NONBLOCK});
}

void watch_files(RestoreContext& inferior, int instance, const Inotify& inotify,
                 const std::string& object, const IsFile& is_file) {
  const auto fd = static_cast<std::uint64_t>(instance);
  int next = 1;
  bool passed_over = false;
  for (const InotifyWatch& watch : inotify.watches) {
    const auto fail_with = [&](std::string_view why) {
      inferior.notes.push_back(fmt::format("{}: watch {} on {} cannot be made again: {}", object,
                                           watch.number, watch.file.path, why));
    };
    if (watch.number > next + kMostNumbers) {
      fail_with("its number is too high");
      continue;
    }
    const auto name = name_to_watch(
        watch.file, is_file, fmt::format("{}: watch {}", object, watch.number), inferior.notes);
    if (!name) {
      fail_with("the file does not come back");
      continue;
    }
    // IN_MASK_CREATE and the like say how to add, and were for that time.
    const std::uint64_t mask = watch.mask & ~(IN_MASK_ADD | IN_MASK_CREATE);
    for (;;) {
      const auto path = inferior.put_string(*name);
      const std::int64_t number = inferior.attempt(SYS_inotify_add_watch, {fd, path, mask});
      if (number < 0) {
        fail_with(describe_errno(static_cast<int>(-number)));
        break;
      }
      next = static_cast<int>(number) + 1;
      if (number == watch.number) break;
      inferior.attempt(SYS_inotify_rm_watch, {fd, number});
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
    const auto into = inferior.reserve(kPiece);
    while (inferior.attempt(SYS_read, {fd, into, kPiece}) > 0) {
    }
  }
}

namespace {

bool describe_inotify(const Describing& describing, Description& description) {
  description.details =
      read_inotify(describing.context, describing.object, describing.fdinfo, describing.own);
  return true;
}

void link_inotify(const Description& description, const Linking& linking) {
  watch_files(linking.inferior, linking.number, description.get<Inotify>(), linking.object,
              files_among(linking.table));
}

}  // namespace

const DescriptorKind kinds::kInotify = {
    .name = "inotify",
    .anonymous = "inotify",
    .describe = describe_inotify,
    .details = &kDetails<Inotify>,
    .make = [](const Description&, const Making& making) { return make_inotify(making.inferior); },
    .link = link_inotify};

}  // namespace ckpt::state
