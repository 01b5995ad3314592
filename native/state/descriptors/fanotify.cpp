#include "state/descriptors/fanotify.hpp"

#include <fcntl.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>

#include "base/error.hpp"
#include "proc/mounts.hpp"
#include "proc/text.hpp"
#include "state/descriptors/kinds.hpp"

namespace ckpt::state {

namespace {

using image::Json;

// <linux/fanotify.h>; not in every distribution's.
constexpr std::uint32_t kMarkIgnore = 0x400;
constexpr std::uint64_t kPreAccess = 0x100000;

constexpr std::uint32_t kTypes = FAN_MARK_MOUNT | FAN_MARK_FILESYSTEM;
constexpr std::uint64_t kAsksPermission =
    FAN_OPEN_PERM | FAN_ACCESS_PERM | FAN_OPEN_EXEC_PERM | kPreAccess;

// A line of fdinfo behind its first word: that of the group, or a mark.
struct MarkLine {
  bool is_group = false;
  Fanotify group;
  FanotifyMark mark;
  WatchedInode target;
  int mount = 0;
};

// "flags:10 event-flags:8002", "ino:4f969 sdev:800013 mflags:0 mask:3b ignored_mask:40000000 ...",
// "mnt_id:12 mflags:0 mask:10 ignored_mask:0", "sdev:800013 mflags:0 mask:3b ignored_mask:0"
MarkLine parse_mark_line(std::string_view text) {
  MarkLine line;
  line.mark.type = FAN_MARK_FILESYSTEM;
  while (!text.empty()) {
    std::string_view value = proc::next_word(text);
    const std::string_view key = proc::cut(value, ':');
    if (key == "ino") line.mark.type = FAN_MARK_INODE;
    if (line.target.take(key, value)) continue;
    const auto number = proc::parse_number<std::uint32_t>(value, 16).value_or(0);
    if (key == "flags") {
      line.is_group = true;
      line.group.flags = number;
    } else if (key == "event-flags") {
      line.group.event_flags = number;
    } else if (key == "mnt_id") {
      line.mark.type = FAN_MARK_MOUNT;
      line.mount = static_cast<int>(number);
    } else if (key == "mflags") {
      line.mark.flags = number;
    } else if (key == "mask") {
      line.mark.mask = number;
    } else if (key == "ignored_mask") {
      line.mark.ignored_mask = number;
    }
  }
  return line;
}

class FanotifyReader {
 public:
  explicit FanotifyReader(const Describing& describing)
      : describing_(describing),
        files_(describing.context),
        mounts_(proc::parse_mounts(describing.context.process.read("mountinfo"))) {}

  std::optional<Fanotify> read() {
    Fanotify group;
    bool is_told = false;
    std::string_view text = describing_.fdinfo;
    while (!text.empty()) {
      std::string_view words = proc::cut(text, '\n');
      if (proc::next_word(words) != "fanotify") continue;
      MarkLine line = parse_mark_line(words);
      if (line.is_group) {
        group.flags = line.group.flags;
        group.event_flags = line.group.event_flags;
        is_told = true;
      } else if (find_file(line)) {
        hold_back_permissions(line.mark);
        // The kernel tells the newest first.
        group.marks.insert(group.marks.begin(), std::move(line.mark));
      }
    }
    int waiting = 0;
    if (describing_.own >= 0 && ::ioctl(describing_.own, FIONREAD, &waiting) == 0 && waiting > 0)
      report(Severity::lost,
             fmt::format("{} bytes of events that the program has not read do not come back",
                         waiting));
    return is_told ? std::optional(std::move(group)) : std::nullopt;
  }

 private:
  bool find_file(MarkLine& line) {
    if (line.mark.type == FAN_MARK_INODE) {
      auto file = files_.find(line.target);
      if (file) line.mark.file = std::move(*file);
      if (!file)
        report(Severity::lost,
               fmt::format("a mark is on a file whose name cannot be found ({}): its events never "
                           "come",
                           inode_text(line.target)));
      return file.has_value();
    }
    const auto mount = std::find_if(mounts_.begin(), mounts_.end(), [&](const proc::Mount& one) {
      return line.mark.type == FAN_MARK_MOUNT ? one.id == line.mount
                                              : one.device == line.target.device;
    });
    if (mount == mounts_.end()) {
      report(Severity::lost,
             "a mark is on a mount that the program does not see: its events never come");
      return false;
    }
    line.mark.file.path = mount->place;
    return true;
  }

  // Until the program goes on, everybody who opens such a file would wait for its answer: also the
  // restoring process, and GDB.
  void hold_back_permissions(FanotifyMark& mark) {
    mark.ignored_mask &= ~kAsksPermission;
    if ((mark.mask & kAsksPermission) == 0) return;
    report(Severity::lost,
           fmt::format("{} comes back without its events that ask for permission", mark.file.path));
    mark.mask &= ~kAsksPermission;
  }

  void report(Severity severity, const std::string& text) {
    describing_.context.report.add(severity, describing_.object, "fanotify", text);
  }

  const Describing& describing_;
  WatchedFiles files_;
  std::vector<proc::Mount> mounts_;
};

bool describe_fanotify(const Describing& describing, Description& description) {
  auto group = FanotifyReader(describing).read();
  if (group) description.details = std::move(*group);
  return group.has_value();
}

int make_fanotify(const Description& description, const Making& making) {
  const auto& group = description.get<Fanotify>();
  return making.inferior.open("fanotify_init", SYS_fanotify_init, {group.flags, group.event_flags});
}

void link_fanotify(const Description& description, const Linking& linking) {
  const IsFile is_file = files_among(linking.table);
  const std::string& object = linking.object;
  for (const FanotifyMark& mark : description.get<Fanotify>().marks) {
    const auto fail_with = [&](const std::string& why) {
      linking.inferior.notes.push_back(
          fmt::format("{}: the mark on {} cannot be made again: {}", object, mark.file.path, why));
    };
    const auto name = mark.type == FAN_MARK_INODE
                          ? name_to_watch(mark.file, is_file, object, linking.inferior.notes)
                          : std::optional(mark.file.path);
    if (!name) {
      fail_with("the file does not come back");
      continue;
    }
    const auto add = [&](std::uint32_t flags, std::uint64_t mask) -> std::int64_t {
      if (mask == 0) return 0;
      const auto path = linking.inferior.put_string(*name);
      return linking.inferior.attempt(
          SYS_fanotify_mark,
          {linking.number, FAN_MARK_ADD | mark.type | flags, mask, AT_FDCWD, path});
    };
    // How it ignores events belongs to the mask of those.
    constexpr std::uint32_t kOfIgnored = FAN_MARK_IGNORED_SURV_MODIFY | kMarkIgnore;
    const std::uint32_t ignored =
        (mark.flags & kMarkIgnore) != 0 ? mark.flags : mark.flags | FAN_MARK_IGNORED_MASK;
    std::int64_t result = add(mark.flags & ~kOfIgnored, mark.mask);
    if (result == 0) result = add(ignored, mark.ignored_mask);
    if (result == -EBADF) return;  // the group could not be made, which has been said
    if (result < 0) fail_with(describe_errno(static_cast<int>(-result)));
  }
}

}  // namespace

const image::Fields<FanotifyMark>& fields_of(const FanotifyMark* /*type*/) {
  static const image::Fields<FanotifyMark> fields = {
      "fanotify_mark",
      {{"type", &FanotifyMark::type, "FAN_MARK_MOUNT, FAN_MARK_FILESYSTEM or 0"},
       {"flags", &FanotifyMark::flags, ""},
       {"mask", &FanotifyMark::mask, ""},
       {"ignored_mask", &FanotifyMark::ignored_mask, ""},
       image::Field<FanotifyMark>::all_of(&FanotifyMark::file)},
      [](FanotifyMark& mark) {
        const std::uint64_t all = mark.mask | mark.ignored_mask;
        if ((mark.type & ~kTypes) != 0 || (all & kAsksPermission) != 0)
          image::damaged("a mark of fanotify");
      }};
  return fields;
}

const image::Fields<Fanotify>& fields_of(const Fanotify* /*type*/) {
  static const image::Fields<Fanotify> fields = {
      "fanotify",
      {{"flags", &Fanotify::flags, "of fanotify_init(2)"},
       {"event_flags", &Fanotify::event_flags, "likewise"},
       {"marks", &Fanotify::marks, ""}}};
  return fields;
}

const DescriptorKind kinds::kFanotify = {.name = "fanotify",
                                         .anonymous = "fanotify",
                                         .describe = describe_fanotify,
                                         .details = &kDetails<Fanotify>,
                                         .make = make_fanotify,
                                         .link = link_fanotify};

}  // namespace ckpt::state
